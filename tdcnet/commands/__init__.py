"""What the command ``tdcnet`` does beside the stages: a module per verb, whose ``main`` takes its arguments."""
