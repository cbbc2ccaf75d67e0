nsctl run --uts host --pid host --ipc host --cgroupns host sh
