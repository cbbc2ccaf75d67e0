nsctl run -m 64m sh
none
