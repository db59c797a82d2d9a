"""``bimp-exp paper NAME``: a table or figure of the paper beside ours, the claims, or all of them, from finished runs.

NAME is t01 to t29, f01 to f11, claims, or all. The runs are those of the sweeps in ``results/sweeps`` that feed it, finished or not.
"""
