package enum Migration {}
