"""The entry point in a checkout: python train.py +experiment=irstd_uav is tdcnet train +experiment=irstd_uav."""

from tdcnet.stages.app import run

if __name__ == "__main__":
    run()
