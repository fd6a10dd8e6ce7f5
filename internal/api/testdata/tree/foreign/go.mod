module example.com/tree/foreign
