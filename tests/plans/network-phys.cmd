nsctl run --network phys:eth1 ip addr
