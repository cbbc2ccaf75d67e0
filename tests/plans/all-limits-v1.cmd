nsctl run -m 64m --cpus 0.5 --pids-limit 20 --cpuset-cpus 0-1 sh
v1
