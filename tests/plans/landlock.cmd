nsctl run --rootfs /srv/box --landlock-ro / --landlock-rw /var/lib/db --landlock-port bind:8080 httpd
