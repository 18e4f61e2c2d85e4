"""Define the scales of an ablation: sizes, tasks, and the values that the experiments vary."""

GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")

# Scale -> its settings:
#   size            a size of configs/common.py
#   recipe          a recipe of configs/finetune.py and configs/zero_shot.py
#   pretraining_seeds    the default number of runs of each pretraining
#   experiments     the default experiments
#   table_tasks     the tasks of most experiments
#   curve_tasks     the tasks of Figure 2, left
#   choice_task     a task with several streams per example
#   training_rows   the numbers of training examples of data_size; 0 is all
#   few_rows        the numbers of training examples of few_shot
#   few_shot        what few_shot changes, so that few examples give enough updates
#   depths, heads, vocabularies, contexts    the values of the experiments with these names
SCALES = {
    "quick": dict(
        size="world",
        recipe="world",
        pretraining_seeds=3,
        experiments=("table5", "transfer", "zero_shot"),
        table_tasks=("cola", "sst2", "qnli", "rte"),
        curve_tasks=("sst2", "qnli", "rte"),
        choice_task="story_cloze_2016",
        training_rows=(250, 500, 1_000, 0),
        few_rows=(16, 64, 256),
        few_shot={"epochs": 20, "batch_size": 8},
        depths=(1, 2, 3, 4),
        heads=(1, 2, 4, 8),
        vocabularies=(400, 800, 1_200),
        contexts=(16, 64),
    ),
    "paper": dict(
        size="gpt1",
        recipe="paper",
        pretraining_seeds=1,
        experiments=(
            "table5",
            "main",
            "transfer",
            "zero_shot",
            "data_size",
            "top",
            "quirks",
            "seeds",
        ),
        table_tasks=GLUE,
        curve_tasks=("race", "mnli"),
        choice_task="race",
        training_rows=(1_000, 3_000, 10_000, 30_000, 100_000, 0),
        few_rows=(32, 100, 320),
        few_shot={"epochs": 20, "batch_size": 16},
        depths=(3, 6, 9, 12),
        heads=(3, 6, 12, 24),
        vocabularies=(10_000, 20_000, 40_478),
        contexts=(128, 256),
    ),
}
