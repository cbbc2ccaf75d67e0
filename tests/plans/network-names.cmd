nsctl run --rootfs /srv/box --network bridge --name web --add-host db:10.1.0.7 --network-alias www sh
