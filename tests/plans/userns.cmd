nsctl run --network none --name ids --overlay-upper /srv/up --rootfs /srv/root --device /dev/kvm -v /srv/data:/data:idmap -u 7 sh
root
