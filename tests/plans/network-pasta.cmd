nsctl run --network pasta ip addr
