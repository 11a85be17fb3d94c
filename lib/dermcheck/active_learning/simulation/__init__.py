"""The loop of labelling and learning, replayed over a data set whose labels are known."""
