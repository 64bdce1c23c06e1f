"""Using what came out: classes of image files, and the accuracy on a data set."""

from nas.inference.classifier import Classifier
from nas.inference.evaluation import Evaluation, evaluate_exported
from nas.inference.files import find_images
from nas.inference.prediction import Prediction, predict

__all__ = ["Classifier", "Evaluation", "Prediction", "evaluate_exported", "find_images", "predict"]
