def read(row):
    return int(row["age"])


class Loader:
    def load(self, rows):
        return [read(row) for row in rows]


def main():
    print("loading")
    return Loader().load([{"age": "3"}, {"age": "three"}])


if __name__ == "__main__":
    main()
