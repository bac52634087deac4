"""Optimizers, schedules, losses, callbacks and augmentation of other libraries, and the sections that they are here."""

import math
from collections.abc import Mapping
from typing import Any

from kilat.locale import N_
from kilat.recipe.words.word import NOTHING, Part, Word, left_out, named, normal, parts, to


def even_range(given: Any) -> Any:
    """Return what a range means to both sides: one number for it, where it is even."""
    if isinstance(given, list) and len(given) == 2 and abs(abs(given[0]) - abs(given[1])) < 1e-9:
        return abs(given[1])
    return abs(given) if isinstance(given, int | float) else given


def _turned(given: Any) -> Any:
    """Return degrees to both sides for a share of a full turn."""
    share = even_range(given)
    degrees = round(360 * share, 6) if isinstance(share, int | float) else share
    return int(degrees) if isinstance(degrees, float) and degrees.is_integer() else degrees


def _is_share(given: Any) -> bool:
    """Return whether a rotation is a share of a full turn, as in Keras, rather than degrees, as in PyTorch."""
    numbers = given if isinstance(given, list) else [given]
    return all(isinstance(one, int | float) and abs(one) <= 1 for one in numbers)


def _sheared(given: Any) -> Any:
    """Return the angle in degrees of a shear by a share of the height."""
    return round(math.degrees(math.atan(even_range(given))), 1)


def _flips(mode: Any) -> list[Any]:
    """Return whether pictures are mirrored left to right, and upside down, for a mode of Keras's RandomFlip."""
    name = normal(mode)
    return [True if "horizontal" in name else NOTHING, True if "vertical" in name else NOTHING]


def is_likely(share: Any) -> Any:
    """Return whether something is done, for the share of pictures that it is done to."""
    return bool(share) if isinstance(share, int | float) else share


def watched(name: Any) -> Any:
    """Return what is monitored: the validation's loss or accuracy."""
    return "accuracy" if "acc" in normal(name) else "loss" if "loss" in normal(name) else name


def _steps(gamma: Any, milestones: Any) -> dict[str, Any]:
    factors = [round(gamma**power, 12) for power in range(len(milestones) + 1)]
    return {"name": "piecewise", "boundaries": milestones, "factors": factors}


def _milestones(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the factors of a rate that falls by the same one at every boundary."""
    given = {key: value for key, value in options.items() if key != "factor"}
    boundaries = options.get("boundaries")
    return {**given, **_steps(options.get("factor", 0.1), boundaries)} if isinstance(boundaries, list) else given


def _inverse_time(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the steps after which a rate has halved, where it falls by 1 / (1 + factor × step / steps)."""
    given = {key: value for key, value in options.items() if key != "factor"}
    steps, factor = options.get("steps"), options.get("factor", 1)
    halved = max(1, round(steps / factor)) if isinstance(steps, int | float) and factor else steps
    return {**given, "name": "power", "steps": halved}


COMPUTED = {"milestones": _milestones, "inverse_time": _inverse_time}
"""Parts whose options follow from several parameters at once, by the name that they have until then."""

# Optimizers

_LEARNING_RATE = to("learning_rate")
_CLIPS = {
    "clipnorm": to("fit.clip.norm"),
    "clipvalue": to("fit.clip.value"),
    "global_clipnorm": to("fit.clip.global_norm"),
}
_ANY_OPTIMIZER = {
    **named("lr learning_rate lr0 base_lr", _LEARNING_RATE),
    **named("eps epsilon", to("epsilon")),
    "betas": to("beta_1", "beta_2", value=list),
    **named("wd weight_decay", to("weight_decay")),
    **_CLIPS,
    "ema_momentum": to("fit.ema"),
    **named("use_ema ema_overwrite_frequency loss_scale_factor gradient_accumulation_steps name params jit_compile "
            "foreach capturable differentiable fused", left_out()),
    **named("amsgrad maximize centered dampening lr_decay", left_out(N_("the optimizer has no such option here"))),
}  # fmt: skip
_SGD = {
    "learning_rate": _LEARNING_RATE,
    "momentum": to("name", "momentum", value=lambda share: ["momentum", share] if share else [NOTHING, NOTHING]),
    "nesterov": to("name", value=lambda yes: "nesterov" if yes else NOTHING),
    **_ANY_OPTIMIZER,
}
_ADAM = {"learning_rate": _LEARNING_RATE, "beta_1": to("beta_1"), "beta_2": to("beta_2"), **_ANY_OPTIMIZER}
_RMSPROP = {"learning_rate": _LEARNING_RATE, "rho": to("rho"), "momentum": to("momentum"), "alpha": to("rho"),
            **_ANY_OPTIMIZER}  # fmt: skip
_OTHER_OPTIMIZER = N_("there is no such optimizer; this one is a usual choice instead")


def _optimizer(names: str, name: str, parameters: Mapping[str, Word] = _ADAM, note: str = "") -> dict[str, Part]:
    return parts(names, Part("fit.optimizer", {"name": name}, parameters, note))


OPTIMIZERS: dict[str, Part] = {
    **_optimizer("SGD", "sgd", _SGD),
    **_optimizer("Adam", "adam"),
    **_optimizer("AdamW", "adamw"),
    **_optimizer("Nadam", "nadam"),
    **_optimizer("Adamax", "adamax"),
    **_optimizer("RMSprop", "rmsprop", _RMSPROP),
    **_optimizer("Adagrad", "adagrad", {"learning_rate": _LEARNING_RATE, **_ANY_OPTIMIZER, **named(
        "initial_accumulator_value", to("initial_accumulator"))}),
    **_optimizer("Lion", "lion"),
    **_optimizer("Muon", "muon", {**_ADAM, "adam_learning_rate": to("adam_learning_rate"), "momentum": to("momentum")}),
    **_optimizer("momentum", "momentum", {"momentum": to("momentum"), **_ANY_OPTIMIZER}),
    **_optimizer("nesterov", "nesterov", {"momentum": to("momentum"), **_ANY_OPTIMIZER}),
    **_optimizer("Adadelta RAdam Adafactor Ftrl Rprop ASGD SparseAdam AdaBelief Ranger adam_mini", "adam",
                 note=_OTHER_OPTIMIZER),
    **_optimizer("ScheduleFreeAdamW LAMB LARS Lookahead QHAdam Sophia Shampoo SOAP", "adamw", note=_OTHER_OPTIMIZER),
    **_optimizer("LBFGS", "adam", note=_OTHER_OPTIMIZER),
}  # fmt: skip

# Schedules

_BASE_RATE = to("fit.optimizer.learning_rate")
_ANY_SCHEDULE = {
    **named("initial_learning_rate max_lr lr_max base_lr learning_rate", _BASE_RATE),
    **named("end_learning_rate end_factor", left_out(N_("end is a share of the learning rate, such as end: 0.01"))),
    **named(
        "power cycle start_factor factor m_mul t_mul first_decay_steps step_size_up step_size_down mode gamma "
        "scale_fn scale_mode cycle_momentum base_momentum max_momentum staircase",
        left_out(),
    ),
    **named("optimizer last_epoch verbose name total_steps total_iters epochs steps_per_epoch", left_out()),
}
_WHOLE = N_("it goes over the whole training")
_END = left_out(N_("end is a share of the learning rate, such as end: 0.01"))
_PLATEAU = {
    "monitor": to("monitor", value=watched),
    "factor": to("factor"),
    "patience": to("patience"),
    "verbose": left_out(),
    **named("mode optimizer threshold_mode", left_out()),
    **named("min_delta threshold", to("min_delta")),
    "cooldown": to("cooldown"),
    "min_lr": to("floor"),
    "eps": left_out(),
}
_BY_STEPS = {"decay_steps": to("steps"), "decay_rate": to("factor"), "staircase": to("staircase"), "name": left_out()}
_COSINE = {
    "T_max": left_out(_WHOLE),
    "decay_steps": left_out(_WHOLE),
    "alpha": to("end"),
    "eta_min": _END,
    "min_lr": _END,
    **named("warmup_epochs warmup_t warmup", to("warmup")),
    "warmup_target": _BASE_RATE,
    **named("warmup_steps num_warmup_steps num_training_steps", left_out(N_("warmup is counted in epochs"))),
    **_ANY_SCHEDULE,
}
_COSINE_DECAY = {"initial_learning_rate": _BASE_RATE, **{key: word for key, word in _COSINE.items() if key != "T_max"}}
_NO_RESTARTS = N_("there are no restarts; this falls once, over the whole training")


def _schedule(
    names: str, base: Mapping[str, Any], parameters: Mapping[str, Word] = _ANY_SCHEDULE, note: str = ""
) -> dict[str, Part]:
    return parts(names, Part("fit.schedule", base, parameters, note))


SCHEDULES: dict[str, Part] = {
    **_schedule("ReduceLROnPlateau ReduceOnPlateau plateau", {"name": "performance"}, _PLATEAU),
    **_schedule("CosineAnnealingLR cosine cosine_annealing CosineLRScheduler cos_lr get_cosine_schedule_with_warmup",
                {"name": "cosine"}, _COSINE),
    **_schedule("CosineDecay", {"name": "cosine"}, _COSINE_DECAY),
    **_schedule("CosineDecayRestarts", {"name": "cosine"}, _COSINE_DECAY, _NO_RESTARTS),
    **_schedule("CosineAnnealingWarmRestarts cosine_with_restarts CyclicLR SGDR fit_sgdr",
                {"name": "cosine"}, {"T_0": left_out(), "T_mult": left_out(), **_COSINE}, _NO_RESTARTS),
    **_schedule("OneCycleLR OneCycle fit_one_cycle one_cycle", {"name": "one_cycle"}, {
        "max_lr": _BASE_RATE, "pct_start": to("rise"),
        **named("div_factor div", to("start", value=lambda by: 1 / by if isinstance(by, int | float) and by else by)),
        **named("final_div_factor div_final", left_out(N_("end is a share of the learning rate"))),
        **named("anneal_strategy cycle_momentum base_momentum max_momentum three_phase", left_out()), **_ANY_SCHEDULE}),
    **_schedule("StepLR step", {"name": "exponential", "epochs": 30, "factor": 0.1, "staircase": True}, {
        "optimizer": left_out(), "step_size": to("epochs"), "gamma": to("factor"), "last_epoch": left_out()}),
    **_schedule("ExponentialLR", {"name": "exponential", "epochs": 1, "factor": 0.95, "staircase": True}, {
        "optimizer": left_out(), "gamma": to("factor"), "last_epoch": left_out()}),
    **_schedule("ExponentialDecay", {"name": "exponential"}, {"initial_learning_rate": _BASE_RATE, **_BY_STEPS}),
    **_schedule("InverseTimeDecay", {"name": "inverse_time"}, {
        "initial_learning_rate": _BASE_RATE, "decay_steps": to("steps"), "decay_rate": to("factor"),
        **named("staircase name", left_out())}),
    **_schedule("MultiStepLR multistep", {"name": "milestones"}, {
        "optimizer": left_out(), "milestones": to("boundaries"), "gamma": to("factor"), "last_epoch": left_out()}),
    **_schedule("PiecewiseConstantDecay PiecewiseConstant", {"name": "piecewise"}, {
        "boundaries": to("boundaries", note=N_("boundaries are counted in epochs")),
        "values": to("factors", value=lambda rates: [round(rate / rates[0], 12) for rate in rates],
                     note=N_("factors are shares of the learning rate")), "name": left_out()}),
    **_schedule("PolynomialDecay", {"name": "linear"}, _COSINE_DECAY),
    **_schedule("PolynomialLR polynomial poly LinearLR linear linear_warmup get_linear_schedule_with_warmup",
                {"name": "linear"}, _COSINE),
    **_schedule("constant ConstantLR", {"name": "constant"}),
    **_schedule("constant_with_warmup get_constant_schedule_with_warmup", {"name": "constant"}, _COSINE, N_(
        "cosine and linear have a warm-up, constant has none")),
    **parts("LearningRateScheduler LambdaLR MultiplicativeLR ChainedScheduler SequentialLR", Part(
        "", note=N_("a schedule is written in the recipe, such as fit: {schedule: one_cycle}; a function cannot be"))),
}  # fmt: skip

# Losses and callbacks

_SMOOTHING = to("label_smoothing")
_LOSS = {**named("label_smoothing smoothing eps", _SMOOTHING), **named(
    "from_logits reduction name dtype delta ignore_index size_average reduce axis ignore_class", left_out()), **named(
    "weight apply_class_balancing pos_weight", left_out(N_("class_weight says weights of classes")))}  # fmt: skip
_FOCAL = {"alpha": to("alpha"), "gamma": to("gamma"), **_LOSS}
_NO_LOSS = N_("there is no such loss for classes; this one is the usual choice")


def _loss(names: str, name: str, parameters: Mapping[str, Word] = _LOSS, note: str = "") -> dict[str, Part]:
    return parts(names, Part("fit.loss", {"name": name}, parameters, note))


_STOP = {
    "monitor": to("monitor", value=watched),
    **named("min_delta min_delta_abs", to("min_delta")),
    "patience": to("patience"),
    **named("verbose mode comp cb strict check_finite", left_out()),
    **named("baseline start_from_epoch", left_out(N_("there is no such option"))),
    "restore_best_weights": to("fit.keep", value=lambda yes: "best" if yes else "last"),
}
OTHERS: dict[str, Part] = {
    **_loss("CategoricalCrossentropy SparseCategoricalCrossentropy CrossEntropyLoss CrossEntropyLossFlat CrossEntropy "
            "NLLLoss nll_loss cross_entropy softmax_cross_entropy log_loss", "cross_entropy"),
    **_loss("BinaryCrossentropy BCELoss BCEWithLogitsLoss BCEWithLogitsLossFlat BCE binary_cross_entropy_with_logits",
            "binary_cross_entropy"),
    **parts("LabelSmoothingCrossEntropy LabelSmoothing LabelSmoothingCrossEntropyFlat", Part(
        "fit.loss", {"name": "cross_entropy", "label_smoothing": 0.1}, _LOSS)),
    **_loss("CategoricalFocalCrossentropy BinaryFocalCrossentropy FocalLoss FocalLossFlat sigmoid_focal_loss", "focal",
            _FOCAL),
    **_loss("MeanSquaredError mse MSELoss l1loss mae hinge CategoricalHinge MultiMarginLoss KLDivergence KLDivLoss "
            "Poisson Huber HuberLoss SmoothL1Loss CosineSimilarity TripletMarginLoss ArcFace SoftTargetCrossEntropy "
            "Dice Tversky LogCosh MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredLogarithmicError "
            "SquaredHinge CTC CTCLoss Circle CategoricalGeneralizedCrossEntropy MultiLabelMarginLoss SoftMarginLoss "
            "MultiLabelSoftMarginLoss CosineEmbeddingLoss HingeEmbeddingLoss MarginRankingLoss PoissonNLLLoss "
            "GaussianNLLLoss", "cross_entropy", note=_NO_LOSS),
    **parts("EarlyStopping EarlyStoppingCallback EarlyStop", Part("fit.early_stopping", {"patience": 0}, _STOP)),
    **parts("ModelCheckpoint SaveModelCallback Checkpoint OrbaxCheckpoint", Part("", {"fit.keep": "best"}, {
        **named("filepath save_best_only monitor mode save_weights_only save_freq verbose fname dirpath filename "
                "save_top_k save_last every_epoch", left_out())})),
    **parts("TensorBoard WandbLogger WandbCallback WandbMetricsLogger MLFlowLogger CometLogger", Part(
        "", note=N_("kilat train --track keeps the run in MLflow, and every run has its curves in the report"))),
    **parts("CSVLogger History ProgbarLogger ProgressBar RichProgressBar LearningRateMonitor BackupAndRestore "
            "TerminateOnNaN Recorder RemoteMonitor LambdaCallback", Part("", note=N_("every run does that by itself"))),
    **parts("SWA StochasticWeightAveraging SWALR AveragedModel", Part("", {"fit.swa_epochs": 5}, {
        **named("swa_epochs", to("fit.swa_epochs")),
        **named("swa_epoch_start swa_lrs swa_lr device avg_fn", left_out())})),
    **parts("EMA ModelEma ModelEmaV2 EMACallback ExponentialMovingAverage SwapEMAWeights", Part(
        "", {"fit.ema": 0.999}, {**named("decay momentum", to("fit.ema"))})),
    **parts("GradientClip GradientClipping clip_grad_norm_", Part("", {"fit.clip.global_norm": 1.0}, {
        **named("max_norm", to("fit.clip.global_norm"))})),
    **parts("MixedPrecision GradScaler autocast to_fp16", Part("", {"fit.precision": "auto"})),
    **parts("UnfreezeCallback BaseFinetuning BackboneFinetuning", Part("", {"fit.unfreeze": "all"})),
}  # fmt: skip

# Augmentation: its parameters lead to options by their path

_ONE_COLOUR = left_out(N_("brightness and contrast are changed, hue and saturation are not"))
_LOOKS = {**named("interpolation fill_value resample expand center seed value_range name data_format border_mode value "
                  "mask_value always_apply antialias inplace ratio same_on_batch keepdim pad_mode batch", left_out()),
          "fill_mode": to("augment.fill"), **named("fill cval", to("augment.fill_value"))}  # fmt: skip
_NO_AUGMENTATION = N_("there is no such augmentation")
_P = {"p": left_out()}


def _augmentation(names: str, base: Mapping[str, Any], note: str = "", /, **parameters: Word) -> dict[str, Part]:
    return parts(names, Part("", base, {**parameters, **_LOOKS, **_P}, note))


_DEGREES = to("augment.rotation", value=even_range)
AUGMENTATION: dict[str, Part] = {
    **_augmentation("RandomFlip", {"augment.horizontal_flip": True, "augment.vertical_flip": True}, mode=to(
        "augment.horizontal_flip", "augment.vertical_flip", value=_flips)),
    **parts("RandomHorizontalFlip HorizontalFlip Fliplr FlipItem hflip", Part("", {"augment.horizontal_flip": True}, {
        "p": to("augment.horizontal_flip", value=is_likely), **_LOOKS})),
    **parts("RandomVerticalFlip VerticalFlip Flipud vflip", Part("", {"augment.vertical_flip": True}, {
        "p": to("augment.vertical_flip", value=is_likely), **_LOOKS})),
    "RandomRotation": Part("", {"augment.rotation": 15}, {
        "factor": to("augment.rotation", value=lambda given: _turned(given) if _is_share(given) else even_range(given)),
        "degrees": _DEGREES, **_LOOKS}),
    **_augmentation("Rotate Rotation SafeRotate", {"augment.rotation": 15}, limit=_DEGREES, max_deg=_DEGREES),
    **_augmentation("RandomZoom", {"augment.zoom": 0.1}, height_factor=to("augment.zoom", value=even_range),
                    width_factor=left_out(), scale=to("augment.zoom")),
    **_augmentation("Zoom RandomScale", {"augment.zoom": 0.1}, scale_limit=to("augment.zoom"),
                    max_zoom=to("augment.zoom")),
    **_augmentation("RandomTranslation", {"augment.width_shift": 0.1, "augment.height_shift": 0.1},
                    height_factor=to("augment.height_shift", value=even_range),
                    width_factor=to("augment.width_shift", value=even_range)),
    **_augmentation("RandomHeight RandomWidth", {"augment.zoom": 0.1}, N_("height and width are zoomed independently"),
                    factor=to("augment.zoom", value=even_range)),
    **_augmentation("RandomShear", {"augment.shear": 10}, x_factor=to("augment.shear", value=_sheared),
                    y_factor=left_out()),
    **_augmentation("RandomBrightness", {"augment.channel_shift": 0.2},
                    factor=to("augment.channel_shift", value=even_range)),
    **_augmentation("RandomContrast Contrast", {"augment.contrast": 0.2},
                    factor=to("augment.contrast", value=even_range),
                    max_lighting=to("augment.contrast")),
    **_augmentation("Brightness", {"augment.brightness": 0.2}, max_lighting=to("augment.brightness")),
    **_augmentation("RandomBrightnessContrast", {"augment.brightness": 0.2, "augment.contrast": 0.2},
                    brightness_limit=to("augment.brightness", value=even_range),
                    contrast_limit=to("augment.contrast", value=even_range)),
    **_augmentation("ColorJitter RandomColorJitter", {}, brightness=to("augment.brightness"),
                    contrast=to("augment.contrast"), brightness_factor=to("augment.brightness", value=even_range),
                    contrast_factor=to("augment.contrast", value=even_range), saturation_factor=_ONE_COLOUR,
                    hue_factor=_ONE_COLOUR, saturation=_ONE_COLOUR, hue=_ONE_COLOUR),
    **_augmentation("RandomCrop", {"augment.crop": 4}, N_(
        "crop is by how many pixels pictures are padded, and then cropped to their size"), size=left_out(),
                    width=left_out(), height=left_out(),
                    padding=to("augment.crop"), pad_if_needed=left_out(), padding_mode=left_out()),
    **_augmentation("RandomResizedCrop RandomResizedCropGPU RandomResizedCropAndInterpolation RandomSizedCrop",
                    {"augment.resized_crop": 0.08}, size=to("size"), scale=to("augment.resized_crop"),
                    height=left_out(), width=left_out(), min_scale=to("augment.resized_crop")),
    **_augmentation("RandomAffine Affine ShiftScaleRotate", {}, degrees=_DEGREES, translate=to(
        "augment.width_shift", "augment.height_shift", value=list), scale=to("augment.zoom"), shear=to("augment.shear"),
        shift_limit=to("augment.width_shift", "augment.height_shift", value=lambda share: [share, share]),
        scale_limit=to("augment.zoom"), rotate_limit=_DEGREES),
    **_augmentation("RandAugment RandAug", {"augment.randaugment": {}}, num_ops=to("augment.randaugment.operations"),
                    magnitude=to("augment.randaugment.magnitude"), num_magnitude_bins=left_out()),
    **_augmentation("TrivialAugmentWide TrivialAugment", {"augment.trivialaugment": True}),
    **_augmentation("AutoAugment AugMix ColorAugmentation", {"augment.trivialaugment": True},
                    N_("there is no such augmentation; this one needs no choices"), policy=left_out()),
    **parts("RandomErasing", Part("", {"augment.erasing": 0.5}, {
        **named("p factor probability", to("augment.erasing")),
        **named("scale max_count sl sh min_aspect mode", left_out()), **_LOOKS})),
    **_augmentation("Cutout CoarseDropout RandomCutout", {"augment.cutout": 8}, length=to("augment.cutout"),
                    size=to("augment.cutout"), n_holes=left_out(), num_holes=left_out()),
    **_augmentation("MixUp", {"augment.mixup": 0.2}, alpha=to("augment.mixup"), num_classes=left_out(),
                    alf=to("augment.mixup")),
    **_augmentation("CutMix", {"augment.cutmix": 1.0}, alpha=to("augment.cutmix"), factor=to("augment.cutmix"),
                    num_classes=left_out()),
    **_augmentation("Resize", {}, size=to("size"), height=to("size"), width=left_out(), method=to("resize"),
                    max_size=left_out()),
    **_augmentation("CenterCrop", {"resize": "crop"}, size=to("size"), height=to("size"), width=left_out()),
    **_augmentation("Normalize", {}, N_("pixels are normalised by input.normalise"), mean=left_out(), std=left_out()),
    **_augmentation("ToTensor PILToTensor ToImage ToDtype ConvertImageDtype ToTensorV2 ToPILImage ToPureTensor RGB "
                    "Identity", {}, N_("kilat does that by itself")),
    **_augmentation("Grayscale", {"input.colour": "grey"}, num_output_channels=left_out()),
    **_augmentation(
        "GaussianBlur RandomGrayscale RandomPerspective ElasticTransform RandomHue RandomSaturation RandomSharpness "
        "RandomInvert RandomPosterize RandomSolarize RandomEqualize RandomAutocontrast RandomAdjustSharpness "
        "GaussNoise Blur MotionBlur HueSaturationValue CLAHE GridDistortion RandomGamma RGBShift ToGray "
        "Equalization Solarization AutoContrast RandomElasticTransform JPEG RandomResize ScaleJitter RandomZoomOut "
        "RandomPhotometricDistort RandomChannelPermutation RandomShortestSize FiveCrop TenCrop LinearTransformation "
        "ContrastLimitedAdaptiveHistogramEqualization GaussianNoise RandomIoUCrop Mosaic Posterize Solarize "
        "RandomGaussianBlur RandomPosterization RandomColorDegeneration ToSepia Warp ImageCompression", {},
        _NO_AUGMENTATION),
}  # fmt: skip


PARTS: dict[str, Part] = {**OPTIMIZERS, **SCHEDULES, **OTHERS, **AUGMENTATION}
"""Parts of a recipe by what they are called elsewhere."""
