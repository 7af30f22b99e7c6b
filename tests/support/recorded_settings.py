"""The parameters of a recorded run, as a `TrackerConfig`."""

from dimp_jax.config import (
    AugmentConfig,
    LocalizeConfig,
    MemoryConfig,
    RefineConfig,
    TrackerConfig,
)

SPACES = {"default": "iou", "relative": "iou_relative"}


def tracker_config(params, legacy) -> TrackerConfig:
    """The recorded parameters, in our terms. Every recorded name is read or known not to matter."""
    read = set()

    def get(name, default=None):
        read.add(name)
        return params.get(name, default)

    def pair(value):
        return tuple(value) if isinstance(value, list) else (value, value)

    def ending(suffix):  # behaviour 6.10 gives the value of these, not their names
        return next((get(name) for name in params if name.endswith(suffix)), None)

    kinds = get("augmentation")
    tuples = lambda name: tuple(tuple(float(v) for v in item) for item in kinds.get(name, ()))
    dropout = kinds.get("dropout", (0, 0.2))
    augment = AugmentConfig(
        shifts=tuples("relativeshift"),
        flip=kinds.get("fliplr", False),
        blur_sigmas_px=tuples("blur"),
        rotations_deg=tuple(float(v) for v in kinds.get("rotate", ())),
        dropout_samples=dropout[0],
        dropout_rate=dropout[1],
        expansion_factor=get("augmentation_expansion_factor"),
        random_shift_factor=get("random_shift_factor"),
    )
    memory = MemoryConfig(
        size=get("sample_memory_size"),
        learning_rate=get("learning_rate"),
        hard_negative_learning_rate=get("hard_negative_learning_rate"),
        init_samples_minimum_weight=get("init_samples_minimum_weight") or 0.0,
        train_interval=get("train_skipping"),
        init_iterations=get("net_opt_iter"),
        update_iterations=get("net_opt_update_iter"),
        hard_negative_iterations=get("net_opt_hn_iter"),
        sample_interval=get("train_sample_interval", 1),
        low_score_threshold=get("low_score_opt_threshold"),
        low_score_iterations=get("net_opt_low_iter", 0),
    )
    localize = LocalizeConfig(
        advanced=get("advanced_localization"),
        score_preprocess=get("score_preprocess", "none"),
        score_filter_cells=get("score_filter_ksz", 1),
        window=get("window_output"),
        hard_negative_without_window=get("perform_hn_without_windowing", False),
        not_found_threshold=get("target_not_found_threshold"),
        uncertain_threshold=get("uncertain_threshold"),
        hard_sample_threshold=get("hard_sample_threshold"),
        distractor_threshold=get("distractor_threshold"),
        hard_negative_threshold=get("hard_negative_threshold"),
        neighborhood_scale=get("target_neighborhood_scale"),
        displacement_scale=get("dispalcement_scale"),
    )
    step = pair(get("box_refinement_step_length"))
    refine = RefineConfig(
        method=SPACES[get("box_refinement_space", "default")],
        num_random_boxes=get("num_init_random_boxes"),
        jitter_position=get("box_jitter_pos"),
        jitter_size=get("box_jitter_sz"),
        iterations=get("box_refinement_iter"),
        step_position=float(step[0]),
        step_size=float(step[1]),
        step_decay=float(get("box_refinement_step_decay")),
        top_k=get("iounet_k"),
        max_aspect_ratio=float(get("maximal_aspect_ratio")),
    )
    ignored = {
        "debug",
        "visualization",
        "use_gpu",
        "device",
        "feature_size_odd",  # never read by the published tracker
        "vot_anno_conversion_type",
        "iounet_use_log_scale",
        "iounet_augmentation",
        "update_classifier",
        "use_augmentation",
        "update_scale_when_uncertain",
        "use_iounet_pos_for_learning",
        "output_not_found_box",
        "scale_factors",
    }
    settings = TrackerConfig(
        crop_size_px=get("image_sample_size"),
        search_area_scale=float(get("search_area_scale")),
        border_mode=ending("border_mode") or "replicate",
        max_scale_change=ending("max_scale_change"),
        crop_arithmetic="2019" if legacy else "2022",
        augment=augment,
        memory=memory,
        localize=localize,
        refine=refine,
    )
    assert set(params) <= read | ignored, sorted(set(params) - read - ignored)
    assert params["update_classifier"] and params["use_augmentation"]
    assert not params["iounet_augmentation"] and params["scale_factors"] == "tensor([1.])"
    assert params.get("use_iounet_pos_for_learning", True)
    assert not params.get("output_not_found_box", False)
    return settings
