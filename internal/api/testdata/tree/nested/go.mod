module example.com/tree/nested
