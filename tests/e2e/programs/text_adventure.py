# A small state machine with a parser, as learners write it; the input is scripted.
class Room:
    def __init__(self, name, **exits):
        self.name, self.exits, self.items = name, exits, []

    def __str__(self):
        return f"You are in the {self.name}. Exits: {', '.join(sorted(self.exits)) or 'none'}."


class Game:
    def __init__(self):
        self.rooms = {"hall": Room("hall", north="library", east="kitchen"),
                      "library": Room("library", south="hall"), "kitchen": Room("kitchen", west="hall")}
        self.rooms["library"].items += ["book", "lamp"]
        self.here, self.bag, self.over = self.rooms["hall"], [], False

    def do_go(self, direction):
        if direction not in self.here.exits:
            return "You can't go there."
        self.here = self.rooms[self.here.exits[direction]]
        return str(self.here)

    def do_take(self, item):
        try:
            self.here.items.remove(item)
        except ValueError:
            return f"There is no {item}."
        self.bag.append(item)
        return f"Taken: {item}."

    def do_quit(self, *_):
        self.over = True
        return f"You leave with {self.bag}."

    def command(self, line):
        verb, _, rest = line.partition(" ")
        handler = getattr(self, f"do_{verb}", None)
        return handler(rest) if handler else f"I don't know how to {verb}."


game = Game()
script = iter("go north;take book;take sword;dance;go up;go south;quit;go north".split(";"))
input = lambda prompt="": next(script)
print(game.here)
while not game.over:
    line = input("> ")
    print(">", line)
    print(game.command(line))
