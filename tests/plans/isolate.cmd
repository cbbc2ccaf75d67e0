nsctl run --isolate=landlock -w /srv/job -u 1000 --landlock-port connect:443 --landlock-port 53/udp make
