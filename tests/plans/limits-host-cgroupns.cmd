nsctl run --cgroupns host --pids-limit 20 sh
v2
