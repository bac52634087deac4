"""The sentences of notes, by their codes; ``kilat.locale.notes`` fills in what they name."""

from kilat.locale import N_

NOTES: dict[str, str | tuple[str, str]] = {
    # the data (kilat.data)
    "skipped_hidden": (
        N_("One hidden or helper file was skipped."),
        N_("{count:,} hidden or helper files were skipped."),
    ),
    "skipped_not_a_picture": (
        N_("One file that is not a picture was skipped."),
        N_("{count:,} files that are not pictures were skipped."),
    ),
    "skipped_empty_class_folder": (
        N_("One class folder without pictures was skipped."),
        N_("{count:,} class folders without pictures were skipped."),
    ),
    "skipped_folder_loop": (
        N_("One folder that leads back to itself was skipped."),
        N_("{count:,} folders that lead back to themselves were skipped."),
    ),
    "skipped_blank_row": (
        N_("One row of the table with nothing in its cells was skipped."),
        N_("{count:,} rows of the table with nothing in their cells were skipped."),
    ),
    "similar_labels": N_(
        "These labels differ only in case, blanks, hyphens or Unicode form, and are kept apart: {labels}. If they are "
        "one class, give them one name: rename the folder, or correct the table."
    ),
    "label_like_missing": (
        N_("Class “{label}” looks like a missing label: it has one picture."),
        N_("Class “{label}” looks like missing labels: it has {count:,} pictures."),
    ),
    "frames_left": (
        N_(
            "One file has several frames or pages: the first is used, {left:,} more are not. To use them, save each as "
            "a file: magick FILE.tif page-%03d.png"
        ),
        N_(
            "{count:,} files have several frames or pages: the first of each is used, {left:,} more are not. To use "
            "them, save each as a file: magick FILE.tif page-%03d.png"
        ),
    ),
    "refused": (
        N_("One picture was refused: {reason}."),
        N_("{count:,} pictures were refused: {reason}."),
    ),
    "class_mostly_refused": N_("Most of class “{label}” was refused: {count:,} of {total:,} pictures."),
    # what was read into folders (kilat.data.layout.layout)
    "splits_by_name": N_("The folders are taken for a split: {folders}."),
    "no_training_folder": N_(
        "There is no training folder with classes: the pictures in {validation} count as training pictures "
        "(validated by cross-validation), those in {test} as the test set."
    ),
    "only_folder_of_split": N_("There is no training folder with classes: all labelled pictures stand in “{folder}”."),
    "split_without_labels": (
        N_("The folder “{folder}” has no class folders in it, so its picture has no label: left out."),
        N_("The folder “{folder}” has no class folders in it, so its {count:,} pictures have no label: left out."),
    ),
    "folders_beside_splits": (
        N_("Beside the folders of the split stand {folders}: one picture in them was left out."),
        N_("Beside the folders of the split stand {folders}: {count:,} pictures in them were left out."),
    ),
    "unlabelled_folders": (
        N_("Folders of pictures without labels ({folders}) were left out, with one picture."),
        N_("Folders of pictures without labels ({folders}) were left out, with {count:,} pictures."),
    ),
    "doubtful_classes": (
        N_(
            "The folder {folders} is taken as a class like those beside it ({others}), though its name suggests a "
            "split or pictures without labels."
        ),
        N_(
            "The folders {folders} are taken as classes like those beside them ({others}), though their names suggest "
            "a split or pictures without labels."
        ),
    ),
    "splits_in_names": N_("Names of folders are taken for a split and a class: {folders}."),
    "splits_in_classes": N_("The folders in the classes ({classes}) are taken for a split."),
    "parts_joined": N_("The folders {folders} are taken as parts of one, and the folders in them as the classes."),
    "annotation_folders": (
        N_("Folders of masks or annotations ({folders}) were left out, with one picture."),
        N_("Folders of masks or annotations ({folders}) were left out, with {count:,} pictures."),
    ),
    "nested_copy": (
        N_("The folder “{folder}” holds folders named like the classes: its picture was added to them."),
        N_("The folder “{folder}” holds folders named like the classes: its {count:,} pictures were added to them."),
    ),
    "nested_split": (
        N_("The folder “{folder}” holds folders named like the classes: its picture is taken for the split '{split}'."),
        N_(
            "The folder “{folder}” holds folders named like the classes: its {count:,} pictures are taken for the "
            "split '{split}'."
        ),
    ),
    "classes_hold_only_folders": N_(
        "The classes {classes} hold only folders: {folders}. If these are the classes, add --class-from {option}."
    ),
    "classes_joined": N_(
        "Folders of one name in several places, such as {folders}, are one class: {classes}. If they are classes of "
        "their own, add --class-from folders."
    ),
    "tables_not_used": (
        N_("The folders are the classes; the table {tables} beside them was not used."),
        N_("The folders are the classes; the tables {tables} beside them were not used."),
    ),
    "archives_not_opened": N_("Archives among the pictures were not opened: {archives}."),
    # what was read into a table (kilat.data.table.reading_notes)
    "table_read": N_("Table {table}: {parts}."),
    "table_combined_labels": (
        N_("One label of the table is a combination of several, and a class of its own: {labels}."),
        N_("{count:,} labels of the table are combinations of several, each a class of its own: {labels}."),
    ),
    "table_split_unread": N_(
        "The column {columns} of the table may be about the split; kilat reads train, validation and test only, so it "
        "was not used."
    ),
    "table_files_missing": (
        N_("One of {total:,} pictures in the table was not found: tried {tried}; nearest: {nearest}."),
        N_("{count:,} of {total:,} pictures in the table were not found: tried {tried}; nearest: {nearest}."),
    ),
    "test_drawn_from_train": N_("The data has no test split: the test pictures were drawn from the training pictures."),
    "unknown_class": (
        N_("One picture of class “{label}” was left out: the model has no such class, but {classes}."),
        N_("{count:,} pictures of class “{label}” were left out: the model has no such class, but {classes}."),
    ),
    "unknown_spelling": (
        N_(
            "One picture of class “{label}” was left out: the model's class is spelled “{name}”. If they are the same, "
            "rename the folder or correct the table."
        ),
        N_(
            "{count:,} pictures of class “{label}” were left out: the model's class is spelled “{name}”. If they are "
            "the same, rename the folder or correct the table."
        ),
    ),
    "unknown_class_more": (
        N_("So were pictures of one more class ({pictures:,})."),
        N_("So were pictures of {count:,} more classes ({pictures:,})."),
    ),
    "other_split": (
        N_("One picture of another split ({splits}) was left out: the data has a test split, and only that is used."),
        N_(
            "{count:,} pictures of other splits ({splits}) were left out: the data has a test split, and only that is "
            "used."
        ),
    ),
    "training_pictures_unknown": N_(
        "The model file does not say which pictures it was trained on: if these are among them, they are no test of it."
    ),
    "trained_on_validation": (
        N_("The data has no training pictures: the one validation picture is trained on."),
        N_("The data has no training pictures: the {count:,} validation pictures are trained on."),
    ),
    "class_without_training_pictures": (
        N_(
            "Class {classes} has pictures for validation or test only ({pictures:,}), none to train on: it is no class "
            "of the model, and they were left out. `kilat eval` takes them as pictures of an unknown class."
        ),
        N_(
            "{count:,} classes have pictures for validation or test only ({pictures:,}), none to train on: {classes}. "
            "They are no classes of the model, and the pictures were left out. `kilat eval` takes them as pictures of "
            "unknown classes."
        ),
    ),
    "class_refused": (
        N_("All pictures of class {classes} were refused ({pictures:,}): it is no class of the model."),
        N_(
            "All pictures of {count:,} classes were refused ({pictures:,}): {classes}. They are no classes of the "
            "model."
        ),
    ),
    "class_with_single_picture": (
        N_("Class {classes} has a single picture: it is trained on, but cannot be tested."),
        N_("{count:,} classes have a single picture each, which is trained on and cannot be tested: {classes}."),
    ),
    "class_with_single_group": (
        N_(
            "All pictures of class {classes} are near-duplicates of each other: they are trained on, but cannot be "
            "tested."
        ),
        N_(
            "All pictures of each of {count:,} classes are near-duplicates of each other: they are trained on, but "
            "cannot be tested: {classes}."
        ),
    ),
    "class_without_test_pictures": (
        N_("Class {classes} has so few different pictures that none is in the test set."),
        N_("{count:,} classes have so few different pictures that none is in the test set: {classes}."),
    ),
    "class_not_in_test_split": (
        N_("The test split has no pictures of class {classes}, so nothing was measured on it."),
        N_("The test split has no pictures of {count:,} classes, so nothing was measured on them: {classes}."),
    ),
    # augmentation that can turn a picture of one class into one of another (kilat.recipe.label_safety)
    "nothing_augmented": N_(
        "This recipe augments nothing: the pictures are as its network gets them, {size}×{size} pixels."
    ),
    "label_safety_horizontal_flip": N_(
        "augment.horizontal_flip mirrors pictures left to right, which can change the meaning of {classes}. "
        "Switch it off if it does; `kilat preview` shows the augmented pictures."
    ),
    "flips_off_labels": N_(
        "Pictures are not mirrored (augment.horizontal_flip: auto): that can change the meaning of {classes}. "
        "Where it does not, set augment.horizontal_flip=true."
    ),
    "label_safety_vertical_flip": N_(
        "augment.vertical_flip turns pictures upside down, which can change the meaning of {classes}. "
        "Switch it off if it does; `kilat preview` shows the augmented pictures."
    ),
    "label_safety_rotation": N_(
        "augment.{option} turns pictures by up to {degrees:g} degrees, which can change the meaning of {classes}. "
        "Switch it off if it does; `kilat preview` shows the augmented pictures."
    ),
    "label_safety_crop": N_(
        "augment.resized_crop shows as little as {share:.0%} of pictures, which can change the meaning of {classes}. "
        "Switch it off if it does; `kilat preview` shows the augmented pictures."
    ),
    "label_safety_colour": N_(
        "augment.{option} changes the colours of pictures, which can change the meaning of {classes}. "
        "Switch it off if it does; `kilat preview` shows the augmented pictures."
    ),
    # networks of layers (kilat.model)
    "selu_other_activations": N_(
        "This network of SELUs has other activations as well ({names}), so it does not normalise itself."
    ),
    "selu_normalisation": N_(
        "This network of SELUs has normalisation layers, so it does not need to normalise itself."
    ),
    "selu_residual": N_("This network of SELUs has residual layers, whose sums no longer have a variance of 1."),
    "selu_init": N_("A network of SELUs normalises itself only with first weights from lecun_normal (here: {names})."),
    "selu_convolutions": N_(
        "That a network of SELUs normalises itself is proven for dense layers only; this one has convolutions."
    ),
    "selu_spatial_dropout": N_(
        "Spatial dropout changes mean and variance in a network of SELUs; the recipe's dropout is alpha dropout."
    ),
    # the pixels that a pretrained backbone gets (kilat.fit.prepare)
    "pretrained_pixel_scale": N_(
        "The backbone was pretrained on pixels of another scale than input.normalise: {normalise} gives it, so that "
        "its features say less than they could. input.normalise: auto takes its own scale."
    ),
    # the size of a backbone's pictures (kilat.model.input_size)
    "backbone_size": N_(
        "{backbone} gets pictures of {size} pixels: at {own} it would compute {times:.1f} times as much (--size {own})."
    ),
    "positions_resampled": N_(
        "Weights that stand for positions were resampled to {size} pixels from the size in brackets: {backbones}."
    ),
    # its precision (kilat.learn.int8_check)
    "backbone_int8": N_(
        "{backbone} computes in int8: on {pictures} of the pictures, that adds {percent:.2g}% to the variance of its "
        "features (without that, but slower: --set features.precision=fp32)."
    ),
    "backbone_fp32": N_(
        "{backbone} computes in fp32: on {pictures} of the pictures, int8 would add {percent:.2g}% to the variance of "
        "its features."
    ),
    # the list of backbones (kilat.model.registry)
    "backbones_none_on_this_machine": N_("None of these is on this machine."),
    "backbones_more": N_("{count:,} more: narrow the search, or take --limit {all}."),
    "backbones_need_torch": N_("More than a thousand others come with the extra 'torch': pip install 'kilat[torch]'"),
    # what training left undone, skipped or took back (kilat.fit)
    "no_memory_for_activations": N_(
        "The activations of frozen stages are computed in every epoch: caching them would take more than a quarter of "
        "the free memory."
    ),
    "no_time_for_activations": N_(
        "The activations of frozen stages are computed in every epoch: the time limit leaves no time to cache them."
    ),
    "loss_not_finite": N_(
        "The loss was not finite in epoch {epoch}: training went back to its start, with half the learning rate."
    ),
    "schedule_warmup_unfinished": N_(
        "The warm-up of {warmup:g} epochs takes all of training ({epochs:,}), so the learning rate never reaches its "
        "base: shorten it (fit.schedule.warmup), or train longer."
    ),
    "schedule_cannot_fall": N_(
        "The schedule lowers the learning rate after {patience:,} epochs without progress, which {epochs:,} epochs are "
        "too few for: it stays constant. Lower fit.schedule.patience, or train longer."
    ),
    "schedule_boundary_unreached": N_(
        "The schedule changes the learning rate at epoch {boundary:g}, which training does not reach: it has "
        "{epochs:,}. Lower fit.schedule.boundaries, or train longer."
    ),
    "stopped_before_averaging": N_(
        "Training stopped early, before the epochs that fit.swa_epochs would have averaged."
    ),
    "flips_off_validation": N_(
        "Pictures are not mirrored (augment.horizontal_flip: auto): the network classified {mirrored:.0%} of mirrored "
        "validation pictures correctly, and {plain:.0%} as they are (before epoch {epoch}). To mirror them all "
        "the same, set augment.horizontal_flip=true."
    ),
    "resolution_enlarged": N_(
        "fit.resolution: pictures are read at {size} pixels; at {largest} they are enlarged and show no more detail."
    ),
    "micro_batches": N_(
        "Memory did not suffice for batches of {batch}: they are computed in {parts} parts of {micro_batch}, which "
        "gives the same updates."
    ),
    "micro_batches_batch_norm": N_(
        "Memory did not suffice for batches of {batch}: they are computed in {parts} parts of {micro_batch}, which "
        "gives the same updates except for batch norms, which normalise over each part by itself."
    ),
    "batch_norm_unsettled": (
        N_(
            "Batch norm had only one update to learn its running statistics, which are still {share:.0%} what they "
            "began with: the model may be far worse than it was in training. Leave fit.precise_batch_norm at auto, "
            "which estimates them on training pictures, or give batch_norm a momentum of 0.9."
        ),
        N_(
            "Batch norm had only {count:,} updates to learn its running statistics, which are still {share:.0%} what "
            "they began with: the model may be far worse than it was in training. Leave fit.precise_batch_norm at "
            "auto, which estimates them on training pictures, or give batch_norm a momentum of 0.9."
        ),
    ),
    # what was left undone while learning (kilat.learn)
    "time_limit_backbone": N_(
        "The time limit left no room for {wanted} as asked: the features are those of {backbone} in {precision}."
    ),
    "time_limit_pictures": (
        N_("The time limit left out one of {total:,} pictures."),
        N_("The time limit left out {count:,} of {total:,} pictures."),
    ),
    "time_limit_penalties": (
        N_("The time limit left room for one of {total:,} L2 penalties of the head."),
        N_("The time limit left room for {count:,} of {total:,} L2 penalties of the head."),
    ),
    "time_limit_folds": (
        N_(
            "The time limit left room for one of {total:,} folds of the cross-validation: "
            "calibration and label checks know the held-out pictures of that fold alone."
        ),
        N_(
            "The time limit left room for {count:,} of {total:,} folds of the cross-validation: "
            "calibration and label checks know the held-out pictures of these alone."
        ),
    ),
    "time_limit_left_out": (
        N_(
            "The time limit left room for one of {total:,} rounds in which classes are left out to choose how unknown "
            "pictures are noticed."
        ),
        N_(
            "The time limit left room for {count:,} of {total:,} rounds in which classes are left out to choose how "
            "unknown pictures are noticed."
        ),
    ),
    "time_limit_label_refit": N_(
        "The time limit left no room to fit heads again without doubtful labels: suspected labels are less certain."
    ),
    "labels_checked_in_part": N_(
        "Suspected labels are among the {count:,} of {total:,} pictures that the network was not trained on; kilat "
        "check looks at all of them."
    ),
    "finetuning_few_mistakes": (
        N_(
            "The backbone was not trained further: of {pictures:,} validation pictures the frozen result gets "
            "{count:,} wrong, which leaves too little to gain."
        ),
        N_(
            "The backbone was not trained further: of {pictures:,} validation pictures the frozen result gets "
            "{count:,} wrong, which leaves too little to gain."
        ),
    ),
    "finetuning_like_pretraining": N_(
        "The backbone was not trained further: the pictures are so near to those it was pretrained on that the gain to "
        "be expected would not show on {pictures:,} validation pictures. fit.when=always trains it in any case."
    ),
    "finetuning_given_up": (
        N_("Fine-tuning was given up after its first epoch, which gained nothing on the validation pictures."),
        N_("Fine-tuning was given up after {count:,} epochs, the last of which gained nothing on validation pictures."),
    ),
    "no_time_to_finetune": N_("The time limit left no room for fine-tuning: this is the frozen result alone."),
    "no_time_for_small_network": N_(
        "The pictures are small, and a small network of their own may be better; the time limit left no room for it."
    ),
    "small_network_needs_torch": N_(
        "The pictures are small, and a small network of their own may be better: pip install 'kilat[torch]', and train "
        "again."
    ),
    "many_pictures_for_small_network": N_(
        "The pictures are small, and a small network of their own may be better, but with so many of them its training "
        "takes long. Try it with --recipe {recipe}, or give a --time-limit."
    ),
    "worker_died": N_(
        "A worker process died, perhaps for want of memory: its pictures were decoded one by one, and fewer processes "
        "went on."
    ),
    "validation_serves_calibration": (
        N_("There are too few pictures to keep any for calibration: the one validation picture serves for both."),
        N_("There are too few pictures to keep any for calibration: the {count:,} validation pictures serve for both."),
    ),
    "class_imbalance": (
        N_(
            "Class “{largest}” has {most:,} training pictures, “{smallest}” has one. Where rare classes matter as "
            "much, train with --set {section}.class_weight=balanced."
        ),
        N_(
            "Class “{largest}” has {most:,} training pictures, “{smallest}” has {count:,}. Where rare classes matter "
            "as much, train with --set {section}.class_weight=balanced."
        ),
    ),
    # whether a model file answers as it should (kilat.bundle.parity, kilat.verbs)
    "parity_inconclusive": (
        N_("The model file was compared with the classifier on one picture only, which shows nothing."),
        N_(
            "The model's answers hardly vary over the {count:,} pictures that its file was compared on, so that the "
            "comparison shows nothing: the model may have learned nothing."
        ),
    ),
    "import_inconclusive": (
        N_("The model file was compared with Keras on one picture only, which shows nothing: give more with --data."),
        N_(
            "The comparison with Keras shows nothing: over {count:,} pictures no probability varies by more than "
            "{range:.1e}. The model may have random weights, or take pixels of another scale (--pixels)."
        ),
    ),
    "import_one_class": (
        N_("The picture was classified as “{label}”."),
        N_("All {count:,} pictures are classified as “{label}”: its pixels may have another scale (--pixels)."),
    ),
    "pixels_chosen": N_(
        "Pixels are scaled as {scale}: {accuracy:.0%} of the labelled pictures are then classified correctly, with "
        "{default} {default_accuracy:.0%}. Another scale: --pixels."
    ),
    "pixels_chosen_reordered": N_(
        "Pixels are scaled as {scale}: with the classes in the best order {accuracy:.0%} of the labelled pictures are "
        "then classified correctly, with {default} {default_accuracy:.0%}. Another scale: --pixels."
    ),
    "classes_in_other_order": N_(
        "{accuracy:.0%} of the labelled pictures are classified correctly, but {reordered:.0%} if the classes stood in "
        "another order: --classes {names}"
    ),
    "no_better_than_chance": N_(
        "{accuracy:.0%} of the labelled pictures are classified correctly, which is no better than always saying the "
        "commonest class ({chance:.0%}): look at --classes, --pixels and --resize, and at the pictures."
    ),
    "tracking_stopped": N_("MLflow stopped logging this run: {reason}"),
}
"""The sentence of every code; where there is a singular, both, chosen by the value ``count``."""
