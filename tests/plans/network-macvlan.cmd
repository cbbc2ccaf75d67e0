nsctl run --network macvlan:eth0 --ip 192.0.2.9 ip addr
