"""bimp-exp: experiments on pruning and retraining neural networks."""
