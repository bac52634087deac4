"""Options of other libraries that stand by themselves, such as ``lr`` or ``batch_size``, and values by their names."""

import re
from typing import Any

from kilat.locale import N_
from kilat.recipe.words.layer_words import first_side, largest_norm, penalties
from kilat.recipe.words.part_words import even_range, is_likely, watched
from kilat.recipe.words.word import NOTHING, Word, left_out, named, normal, to

_BY_ITSELF = left_out(N_("kilat does that by itself"))
_MEASURED = left_out(N_("kilat always measures loss, accuracy and much more"))
_COMMAND = N_("that is an option of the command: {option}")


def _command(option: str) -> Word:
    """Return a word for what is no option of a recipe, but one of the command line."""
    return left_out(_COMMAND.replace("{option}", option))


def _device(given: Any) -> Any:
    """Return a kind of device for whether a GPU is used, for its number, or for a name with a number."""
    if isinstance(given, bool):
        return "cuda" if given else "cpu"
    name = str(given)
    return "cuda" if name.isdigit() else re.sub(r":\d+$", "", name)


def _half_precision(given: Any) -> Any:
    """Return whether numbers have half of their bits: yes is for kilat to choose, no is fp32."""
    return "auto" if given is True else "fp32" if given is False else given


def _unfrozen(given: Any) -> Any:
    """Return which stages are trained, where all or none are frozen."""
    return "all" if given in (False, None, 0) else 0 if given is True else given


def _trained(given: Any) -> Any:
    return "all" if given is True else 0 if given is False else given


def _colour(given: Any) -> Any:
    return "grey" if normal(given) in ("grayscale", "gray", "l", "1") else "rgb"


def _cached(given: Any) -> Any:
    return "memory" if given in (True, "ram") else "stream" if given in (False, "disk") else given


def _no_pretraining(given: Any) -> Any:
    """Return what says that weights are random; trained ones are the default."""
    return NOTHING if given is True or normal(given) in ("imagenet", "default") else "none" if given is False else given


OPTIONS: dict[str, Word] = {
    # training
    **named("lr learning_rate lr0 base_lr lr_max max_lr initial_learning_rate init_lr eta learning_rate_init",
            to("learning_rate")),
    **named("bs batch_size batchsize per_device_train_batch_size train_batch_size minibatch_size minibatch",
            to("batch")),
    **named("epoch n_epoch n_epochs num_epochs max_epochs num_train_epochs nb_epoch nb_epochs n_epoch_max",
            to("epochs")),
    **named("max_steps max_iter num_iters iterations", left_out(N_(
        "training is counted in epochs; min_steps sets the fewest steps"))),
    **named("wd weight_decay decay_rate", to("weight_decay")),
    **named("optim opt optimiser opt_func solver optimizer_type optimizer_name", to("fit.optimizer")),
    "mom": to("momentum"),
    "moms": to("beta_1", value=lambda given: given[0] if isinstance(given, list) else given),  # fastai's are of Adam
    **named("betas", to("beta_1", "beta_2", value=list)),
    **named("eps adam_epsilon opt_eps", to("epsilon")),
    **named("scheduler lr_scheduler lr_scheduler_type sched lr_schedule learning_rate_schedule", to("fit.schedule")),
    "cos_lr": to("fit.schedule.name", value=lambda yes: "cosine" if yes else NOTHING),
    "lrf": to("fit.schedule.name", "fit.schedule.end", value=lambda share: ["linear", share]),
    **named("warmup_epochs warmup_epoch n_warmup", to(
        "fit.schedule.name", "fit.schedule.warmup", value=lambda epochs: ["cosine", epochs])),
    **named("warmup_steps num_warmup_steps warmup_ratio warmup_momentum warmup_bias_lr warmup_lr", left_out(N_(
        "a warm-up is an option of the schedule, in epochs: {name: cosine, warmup: 3}"))),
    **named("pct_start", to("fit.schedule", value=lambda share: {"name": "one_cycle", "rise": share})),
    **named("loss_fn loss_func criterion objective", to("fit.loss")),
    **named("label_smoothing smoothing label_smoothing_factor ls", to("fit.loss.label_smoothing")),
    **named("fl_gamma", to("fit.loss", value=lambda gamma: {"name": "focal", "gamma": gamma})),
    **named("class_weights weighted_loss pos_weight", to("class_weight")),
    **named("is_unbalance balance_classes balanced cls_weights", to(
        "class_weight", value=lambda yes: "balanced" if yes else NOTHING)),
    **named("gradient_clip_val max_grad_norm clip_grad grad_clip clip_grad_norm gradient_clip global_clipnorm",
            to("fit.clip.global_norm")),
    "clipnorm": to("fit.clip.norm"),
    **named("clipvalue clip_value", to("fit.clip.value")),
    **named("ema_decay model_ema_decay ema_momentum", to("ema")),
    **named("use_ema model_ema", to("ema", value=lambda yes: 0.999 if yes else NOTHING)),
    **named("swa", to("swa_epochs")),
    **named("early_stop early_stopping_patience earlystopping es_patience patience early_stopping_rounds",
            to("fit.early_stopping")),
    **named("restore_best_weights load_best_model_at_end save_best_only save_best", to(
        "keep", value=lambda yes: "best" if yes else "last")),
    **named("monitor metric_for_best_model", to("fit.early_stopping.monitor", value=watched)),
    **named("amp use_amp fp16 half mixed_precision use_mixed_precision bf16", to("precision", value=_half_precision)),
    **named("torch_compile jit_compile torchcompile", to("compile")),
    **named("unfreeze_layers fine_tune_at trainable_layers unfrozen", to("fit.unfreeze", value=_trained)),
    **named("trainable fine_tune finetune unfreeze_all", to("fit.unfreeze", value=_trained)),
    **named("freeze frozen freeze_backbone freeze_layers", to("fit.unfreeze", value=_unfrozen)),
    "freeze_epochs": left_out(N_("phases say it: phases: [{epochs: 1}, {epochs: 4, unfreeze: all}]")),
    **named("layer_lr_decay llrd", to("layer_decay")),
    **named("drop_path_rate droppath stochastic_depth", to("drop_path")),
    **named("dropout drop drop_rate dropout_rate ps", left_out(N_(
        "dropout is a layer of section model, such as dropout: 0.5"))),
    **named("l2_regularization l2_reg reg_lambda", to("l2")),
    **named("kernel_regularizer regularizer", to("model.l1", "model.l2", value=penalties)),
    **named("normalization norm norm_layer", to("normalisation")),
    "kernel_initializer": to("model.init"),
    "kernel_constraint": to("model.max_norm", value=largest_norm),
    # data and input
    **named("validation_split val_split valid_pct val_size validation_size valid_size val_pct validation_fraction "
            "val_fraction holdout", to("data.validation")),
    "val": to("data.validation", value=lambda share: share if isinstance(share, float) else NOTHING),
    **named("train_split train_size train_pct train_fraction train_ratio", left_out(N_(
        "training pictures are those that test, validation and calibration leave"))),
    **named("test_size test_split test_pct test_fraction", to("data.test")),
    **named("imgsz img_size image_size input_size target_size resolution img_dim input_shape image_shape im_size "
            "size_px imsize crop_size patch_size", to("size", value=first_side)),
    **named("img_height image_height height input_height", to("size")),
    **named("img_width image_width width input_width", left_out(N_("pictures are square: size is one number"))),
    **named("rescale scale_pixels featurewise_center rescaling", to("input.normalise", value=lambda given: "scale")),
    **named("featurewise_std_normalization", to("input.normalise", value=lambda given: "zscore")),
    **named("samplewise_center samplewise_std_normalization", left_out(N_("pictures are not normalised one by one"))),
    **named("normalize preprocessing preprocess_input preprocessing_function", left_out(N_(
        "pixels are normalised by input.normalise"))),
    **named("color_mode color colour_mode channels in_chans n_channels in_channels", to("input.colour", value=_colour)),
    **named("cache", to("input.cache", value=_cached)),
    "pad_to_aspect_ratio": to("resize", value=lambda yes: "pad" if yes else NOTHING),
    **named("interpolation resize_method crop_to_aspect_ratio keep_aspect_ratio", left_out(N_(
        "resize: crop, squash or pad says how pictures that are not square are fitted"))),
    **named("confidence confidence_level coverage_level", to("trust.coverage")),
    **named("C penalty classifier", left_out(N_("cross-validation chooses the penalty of the head from head.l2"))),
    # networks
    **named("model arch architecture net backbone_name base_model encoder model_name feature_extractor "
            "pretrained_model",
            to("features.backbone")),
    **named("pretrained use_pretrained", to("weights", value=_no_pretraining)),
    **named("num_classes n_classes nc n_out num_labels classes_count output_dim", left_out(N_(
        "classes are counted in the data; the last layer is dense: classes"))),
    **named("include_top", left_out(N_("the backbone comes without its head"))),
    # where it runs
    **named("random_state random_seed manual_seed rng_seed", to("seed")),
    **named("gpu gpus accelerator use_gpu cuda", to("device", value=_device)),
    **named("cpu no_cuda use_cpu", to(
        "device", value=lambda given: "cpu" if given is True else "auto")),
    **named("num_gpus n_gpu num_devices world_size nproc_per_node", to("devices")),
    **named("timeout max_time max_runtime time max_time_mins", to("time_limit")),
    # augmentation
    **named("fliplr do_flip hflip horizontalflip h_flip horizontal_flip_prob", to(
        "augment.horizontal_flip", value=is_likely)),
    **named("flipud flip_vert vflip v_flip", to("augment.vertical_flip", value=is_likely)),
    **named("degrees rotation_range max_rotate rotate rotation_degrees", to("augment.rotation", value=even_range)),
    "width_shift_range": to("augment.width_shift"),
    "height_shift_range": to("augment.height_shift"),
    "translate": to("augment.width_shift", "augment.height_shift", value=lambda share: [share, share]),
    "shear_range": to("augment.shear"),
    **named("zoom_range scale", to("augment.zoom", value=even_range)),
    "max_zoom": to("augment.zoom", value=lambda most: round(most - 1, 6)),
    **named("brightness_range", to("augment.brightness")),
    "hsv_v": to("augment.brightness"),
    **named("hsv_h hsv_s saturation hue", left_out(N_(
        "brightness and contrast are changed, hue and saturation are not"))),
    "max_lighting": to("augment.brightness", "augment.contrast", value=lambda share: [share, share]),
    "channel_shift_range": to("augment.channel_shift", value=lambda levels: round(levels / 255, 6)),
    "fill_mode": to("augment.fill"),
    "cval": to("augment.fill_value"),
    **named("reprob random_erasing erasing_prob", to("augment.erasing")),
    **named("mixup_alpha", to("augment.mixup")),
    **named("cutmix_alpha", to("augment.cutmix")),
    **named("auto_augment aa autoaugment", to("augment.trivialaugment", value=bool)),
    **named("mosaic close_mosaic copy_paste perspective max_warp bgr crop_fraction zca_whitening mask_ratio "
            "overlap_mask multi_scale", left_out(N_("there is no such augmentation"))),
    # what needs no line
    **named("shuffle drop_last workers num_workers n_workers dataloader_num_workers prefetch pin_memory "
            "use_multiprocessing max_queue_size steps_per_epoch validation_steps validation_batch_size "
            "per_device_eval_batch_size gradient_accumulation_steps accumulate_grad_batches accumulate nbs "
            "data_format sync_bn benchmark cudnn_benchmark persistent_workers deterministic multi_gpu distributed ddp "
            "strategy rect dataloader task mode save exist_ok single_cls profile fraction split save_json conf iou "
            "max_det dnn visualize cls_pw class_name keras_version backend run_eagerly steps_per_execution "
            "auto_scale_loss "
            "loss_weights weighted_metrics follow_links format class_names", _BY_ITSELF),
    "sample_weight": left_out(N_("classes may have weights (class_weight), pictures have none")),
    **named("plots metrics metric scoring eval_metric monitor_metrics evaluation_strategy eval_strategy "
            "validation_freq log_every_n_steps logging_steps report_to", _MEASURED),
    **named("verbose disp show_progress progress_bar progress", left_out(N_(
        "progress is always shown; the option --quiet of the command leaves it out"))),
    **named("save_period save_steps save_strategy save_freq checkpoint_freq", to("checkpoint", note=N_(
        "it is in seconds; the end of each epoch always has one"))),
    **named("validation_data validation_dir val_dir valid_dir train_dir data_dir dataset path data_path root_dir "
            "directory train_data test_dir label_mode class_mode labels subset data", left_out(N_(
                "the data is an argument of the command: kilat train FOLDER"))),
    **named("project output out output_dir out_dir save_dir logdir log_dir "
            "default_root_dir", _command("--runs FOLDER")),
    **named("name run_name experiment experiment_name exp_name", _command("--name NAME")),
    **named("resume resume_from_checkpoint ckpt_path initial_epoch", _command("--resume RUN")),
}  # fmt: skip
"""Options by their name elsewhere."""

CONTAINERS = frozenset(map(normal, """
    callbacks cbs train training trainer train_args training_args compile fit_args hyp hyperparameters hyper_parameters
    hparams params config args learner dls augmentation augmentations data_augmentation transforms transform
    train_transforms tfms item_tfms batch_tfms aug aug_transforms ImageDataGenerator image_data_generator preprocess
    optimizer_params optimizer_args optimizer_config scheduler_params lr_scheduler_params dataset_args dataloader_args
    loader model_params defaults settings Compose RandomApply RandomChoice RandomOrder SomeOf OneOf Pipeline
""".split()))  # fmt: skip
"""Words for groups of options or parts, which have no counterpart themselves."""
