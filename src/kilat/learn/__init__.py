"""The ways to learn, each giving a ``Learned``: a head on a frozen backbone, a network from scratch, fine-tuning."""
