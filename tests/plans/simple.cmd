nsctl simple
