nsctl run --rootfs /srv/box --network none sh
user
