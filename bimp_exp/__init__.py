"""bimp-exp: experiments on pruning and retraining neural networks."""

__version__ = "0.1.0"
