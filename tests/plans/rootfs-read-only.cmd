nsctl run --rootfs /srv/box --read-only --no-init sh
