nsctl run -m 64m sh
v1
