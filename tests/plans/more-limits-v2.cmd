nsctl run -m 64m --memory-swap 64m --memory-high 32m --oom-group -c 512 --io-weight 200 --device-read-bps /dev/sdb:1m --oom-score-adj 500 --cgroup-parent a/b -- sh
v2
