nsctl run --net private ip link
