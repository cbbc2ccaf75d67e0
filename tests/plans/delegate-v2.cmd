nsctl run -m 64m --cpu-weight 200 --cgroup-delegate --user 1000:1000 -- sh
v2
