# The service and the released model, as the README starts it.
# Pinned by digest; newer ones have newer patches of the system.
FROM python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7
WORKDIR /app

# What the service imports, at the versions that everything else uses; torch for the CPU.
COPY requirements.txt .
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
    -c requirements.txt torch transformers openvino apiflask waitress prometheus-client

COPY pyproject.toml .
COPY utils utils
COPY scripts/flask-deployment.py scripts/
COPY artifacts/model artifacts/model

RUN useradd --no-create-home reviews
USER reviews
ENV HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", \
    "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 8000, timeout=10); \
    c.request('GET', '/health/live'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "scripts/flask-deployment.py", "--host", "0.0.0.0"]
