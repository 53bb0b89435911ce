"""TF Serving's configuration files for an exported model, in its own text formats."""

from __future__ import annotations

import os
from pathlib import Path

_MODELS = """\
# tensorflow_model_server --model_config_file=models.config
model_config_list {{
  config {{
    name: "{name}"
    base_path: "{base_path}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""

_BATCHING = """\
# tensorflow_model_server --enable_batching --batching_parameters_file=batching_params.pbtxt
# A request waits up to 2 ms for others to share a run with.
max_batch_size {{ value: {max_batch_size} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 100 }}
num_batch_threads {{ value: {threads} }}
"""

_MONITORING = """\
# tensorflow_model_server --rest_api_port=8501 --monitoring_config_file=monitoring.config
prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }
"""

_SESSION = """\
# tensorflow_model_server --tensorflow_session_config_file=session_config.pbtxt
# For a GPU: memory as it is needed, and float16 arithmetic where it is safe.
gpu_options { allow_growth: true }
graph_options { rewrite_options { auto_mixed_precision: ON } }
"""


def write_serving_configs(
    folder: str | Path, saved_model: Path, max_batch_size: int, base: str = "/models"
) -> list[Path]:
    """Write models.config, batching_params.pbtxt, monitoring.config and session_config.pbtxt.

    Args:
        folder: made if it is not there; files of these names are replaced.
        saved_model: BASE/NAME/VERSION.
        max_batch_size: images in a batch, at most.
        base: the folder of all models as the server sees it; that of the containers by default.

    Returns:
        The files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    home = saved_model.resolve().parent
    texts = {
        "models.config": _MODELS.format(
            name=home.name, base_path=f"{base.rstrip('/')}/{home.name}"
        ),
        "batching_params.pbtxt": _BATCHING.format(
            max_batch_size=max_batch_size, threads=os.cpu_count()
        ),
        "monitoring.config": _MONITORING,
        "session_config.pbtxt": _SESSION,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
    return [folder / name for name in texts]
