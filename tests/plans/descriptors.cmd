nsctl run --preserve-fds 2 --pidfile /run/box.pid sh
