# Train, evaluate or predict in a container:
#
#   docker build -t tdcnet .
#   docker run --rm --gpus all --shm-size 8g -v "$PWD/data:/app/data:ro" -v "$PWD/logs:/app/logs" tdcnet +experiment=demo
#   docker run -d -p 127.0.0.1:8080:8080 tdcnet stage=live 'source="rtsp://CAMERA/PATH"' stage.page=8080 \
#       stage.host=0.0.0.0 stage.token=CHOOSE-ONE
#
# A slim Python image is base enough for a GPU: PyTorch's wheels carry CUDA, and the NVIDIA container toolkit on the host
# brings the driver (--gpus all). Without --gpus the same image runs on the CPU. Workers of the data loader pass
# batches through shared memory, of which Docker gives 64 MB unless told otherwise (--shm-size).
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /app

# Dependencies alone first: this layer of about 7 GB stays cached until pyproject.toml or constraints.txt change.
# setuptools is for the project's own installation below, which must not download anything.
COPY pyproject.toml constraints.txt ./
RUN python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
        print(*p["dependencies"], *p["optional-dependencies"]["export"], \
        *p["optional-dependencies"]["live"], sep="\n")' > /tmp/requirements.txt \
    && pip install -c constraints.txt -r /tmp/requirements.txt setuptools \
    && rm /tmp/requirements.txt

# Files written to mounted folders belong to this user: build with --build-arg UID="$(id -u)" to make it yours.
ARG UID=1000
RUN useradd --create-home --uid "${UID}" tdcnet

COPY . .
# Editable, so that train.py, configs/ and the package are one tree, as in a checkout.
RUN pip install --no-deps --no-build-isolation -e . \
    && mkdir -p data logs /cache \
    && chown tdcnet:tdcnet data logs \
    && chmod 1777 /cache

# Matplotlib, torch.hub, triton's and inductor's compiled kernels write here, whoever the user is.
ENV XDG_CACHE_HOME=/cache \
    MPLCONFIGDIR=/cache/matplotlib \
    TORCH_HOME=/cache/torch \
    TORCHINDUCTOR_CACHE_DIR=/cache/inductor \
    TRITON_CACHE_DIR=/cache/triton

USER tdcnet
VOLUME ["/app/data", "/app/logs"]
ENTRYPOINT ["python", "train.py"]
