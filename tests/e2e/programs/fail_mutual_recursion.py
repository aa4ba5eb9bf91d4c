class Tree:
    def __init__(self):
        self.parent = self

    def root(self):
        return self.parent.up()

    def up(self):
        return self.root()


Tree().root()
