"""Serve an exported model over HTTP: a JSON API, and a page to try it.

Example: python scripts/flask-deployment.py --model artifacts/model --port 8000
Then open http://127.0.0.1:8000, or
  curl -H 'Content-Type: application/json' -d '{"inputs": "A moving, clever film."}' \\
      http://127.0.0.1:8000/predict

The environment variable REVIEWS_API_KEY, where it is set, is asked for as a bearer token.
"""

import argparse
import logging
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from utils import InputError
from utils.paths import RELEASED


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=RELEASED, help="an exported folder")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for other machines too")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    parser.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME",
        help="a name or address by which clients call it, beside this machine's own loopback ones "
        "(may be given again; '*' for any)",
    )  # fmt: skip
    parser.add_argument(
        "--runtime", choices=("auto", "openvino", "torch"), default="auto",
        help="what computes; default: OpenVINO on a CPU, where the model has openvino/, else torch",
    )  # fmt: skip
    arguments = parser.parse_args()
    if not arguments.model.is_dir():
        sys.exit(f"error: --model {arguments.model}: there is no such folder.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the server takes it over
    # Imported here, so that --help and a wrong argument answer at once.
    from transformers.utils.logging import disable_progress_bar

    from utils.inference.classifier import Classifier
    from utils.service.api import create_app
    from utils.service.batching import Engine
    from utils.service.metrics import Metrics
    from utils.service.middleware import LOOPBACK, OneLine
    from utils.service.server import listen, serve

    hosts = (
        None
        if "*" in arguments.allowed_host
        else [*LOOPBACK, *map(str.lower, arguments.allowed_host)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    disable_progress_bar()
    try:
        # In a thread that ends, and OpenMP's team with it: see Engine.
        with ThreadPoolExecutor(1) as loader:
            loaded = loader.submit(Classifier.from_folder, arguments.model, arguments.runtime)
            classifier = loaded.result()
        logging.info("%s: %s", classifier.runtime.name, classifier.why)
        engine = Engine(classifier, Metrics())
        app = create_app(engine, classifier.manifest, hosts=hosts)
        server = listen(app, arguments.host, arguments.port)
        serve(server, engine)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
