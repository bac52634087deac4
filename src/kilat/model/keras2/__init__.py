"""Models of Keras 2 (tf.keras up to TensorFlow 2.15, tf_keras), rebuilt as Keras 3 models from their description.

Nothing in a file is executed: layers are those of Keras 3, operations of TensorFlow those of a list.
What cannot be rebuilt faithfully is refused with the layer and the reason. Stands on no other room but those below.
"""
