nsctl run --rootfs /srv/box -m 64m --pids-limit 20 sh
v2
