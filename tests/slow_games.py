"""CleanUp-lite and the Coin Game once more, cell by cell in plain Python, as the rules are told."""

STEPS = {"right": (0, 1), "left": (0, -1), "up": (-1, 0), "down": (1, 0)}


class SlowCleanUp:
    """What chance decides is given to `step`; places are (row, column)."""

    def __init__(self, game, places, dirt):
        self.game = game
        self.players = [{"place": place, "frozen": 0} for place in places]
        self.content = {(row, game.columns - 1): "dirt" for row in dirt}

    def count(self, what):
        return list(self.content.values()).count(what)

    def step(self, actions, *, new_dirt, new_apple, hits, eater):
        game, river, orchard = self.game, self.game.columns - 1, 0
        if new_dirt is not None:
            assert (new_dirt, river) not in self.content
            self.content[new_dirt, river] = "dirt"
        if new_apple is not None:
            assert self.count("dirt") < game.dirt_capacity
            assert (new_apple, orchard) not in self.content
            self.content[new_apple, orchard] = "apple"
        awake = [player["frozen"] == 0 for player in self.players]
        rewards = [0, 0]
        for place, what in list(self.content.items()):
            there = [me for me in range(2) if awake[me] and self.players[me]["place"] == place]
            if there:
                del self.content[place]
                if what == "apple":
                    rewards[eater if len(there) == 2 else there[0]] += 1
        zapped = [False, False]
        for me in range(2):
            you = 1 - me
            zaps = awake[me] and awake[you] and game.actions[actions[me]] == "zap" and hits[me]
            zapped[you] = zaps and self.distance() <= game.zap_distance
        wanted = []
        for me, player in enumerate(self.players):
            if player["frozen"] > 0:
                player["frozen"] -= 1
            if zapped[me]:
                player["frozen"] = max(0, game.freeze_steps - (1 if game.zap_step_counts else 0))
            moves = awake[me] and not zapped[me]
            wanted.append(self.beside(player["place"], game.actions[actions[me]]) if moves else player["place"])
        before = [player["place"] for player in self.players]
        if game.collisions == "block":
            blocked = [wanted[me] in (before[1 - me], wanted[1 - me]) for me in range(2)]
            wanted = [before[me] if blocked[me] else wanted[me] for me in range(2)]
        for player, place in zip(self.players, wanted, strict=True):
            player["place"] = place
        return rewards

    def distance(self):
        (row, column), (other_row, other_column) = (player["place"] for player in self.players)
        apart = abs(row - other_row), abs(column - other_column)
        return sum(apart) if self.game.metric == "manhattan" else max(apart)

    def beside(self, place, action):
        down, right = STEPS.get(action, (0, 0))
        row, column = place[0] + down, place[1] + right
        return (row, column) if 0 <= row < self.game.rows and 0 <= column < self.game.columns else place

    def seen_by(self, me):
        cells = [(row, column) for row in range(self.game.rows) for column in range(self.game.columns)]
        own, other = self.players[me], self.players[1 - me]
        seen = [float(cell == own["place"]) for cell in cells] + [float(cell == other["place"]) for cell in cells]
        for cell in cells:
            seen += [float(self.content.get(cell) == what) for what in ("apple", "dirt", None)]
        return [*seen, float(own["frozen"] > 0), float(other["frozen"] > 0)]


class SlowCoinGame:
    """Where new coins come is given to `step`; `coins` has the place of each colour's, or None."""

    def __init__(self, game, places, coins):
        self.game, self.places, self.coins = game, list(places), list(coins)

    def step(self, actions, new_coins):
        names = [*STEPS, "stay"]
        rewards = [0.0, 0.0]
        for me in range(2):
            down, right = STEPS.get(names[actions[me]], (0, 0))
            row, column = self.places[me]
            self.places[me] = (row + down) % self.game.size, (column + right) % self.game.size
        before = list(self.coins)
        for me in range(2):
            for colour, coin in enumerate(before):
                if coin == self.places[me]:
                    rewards[me] += self.game.reward
                    self.coins[colour] = None
                    if colour != me:
                        rewards[colour] -= self.game.loss
        for colour, coin in enumerate(new_coins):
            if self.coins[colour] is None:
                self.coins[colour] = coin
            else:
                assert coin == self.coins[colour]
        return rewards

    def seen_by(self, me):
        cells = [(row, column) for row in range(self.game.size) for column in range(self.game.size)]
        what = self.places[me], self.places[1 - me], self.coins[me], self.coins[1 - me]
        return [float(cell == thing) for thing in what for cell in cells]
