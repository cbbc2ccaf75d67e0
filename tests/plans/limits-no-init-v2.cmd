nsctl run --no-init --pids-limit 20 sh
v2
