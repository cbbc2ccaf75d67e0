nsctl run --rootfs /srv/box -m 64m sh
v1
old
