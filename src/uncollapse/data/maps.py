"""Built-in label maps: coarse name -> finer names, by data set and by name."""

from __future__ import annotations

__all__ = [
    "CIFAR10_MAPS",
    "CIFAR100_MAPS",
    "CIFAR100_SUPERCLASSES",
    "DIGITS_MAPS",
    "FASHION_CLASSES",
    "FASHION_MAPS",
    "SOLAR_CONDITIONS",
    "SOLAR_MAPS",
]

Maps = dict[str, dict[str, tuple[str, ...]]]

# Loops are closed curves. A handwritten 4 is open at the top in nearly all of this set, so it
# counts as none, though a printed 4 has one.
DIGITS_MAPS: Maps = {
    "parity": {"even": ("0", "2", "4", "6", "8"), "odd": ("1", "3", "5", "7", "9")},
    "loops": {
        "no loop": ("1", "2", "3", "4", "5", "7"),
        "one loop": ("0", "6", "9"),
        "two loops": ("8",),
    },
}

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
FASHION_MAPS: Maps = {
    "kinds": {
        "tops": ("T-shirt/top", "Pullover", "Dress", "Coat", "Shirt"),
        "trousers": ("Trouser",),
        "footwear": ("Sandal", "Sneaker", "Ankle boot"),
        "bags": ("Bag",),
    }
}

CIFAR10_MAPS: Maps = {
    "kinds": {
        "animals": ("bird", "cat", "deer", "dog", "frog", "horse"),
        "vehicles": ("airplane", "automobile", "ship", "truck"),
    }
}

# Krizhevsky, "Learning multiple layers of features from tiny images" (2009), and
# https://www.cs.toronto.edu/~kriz/cifar.html.
CIFAR100_SUPERCLASSES: dict[str, tuple[str, ...]] = {
    "aquatic mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit and vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household electrical devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large man-made outdoor things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large natural outdoor scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large omnivores and herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium-sized mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles 1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles 2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
CIFAR100_MAPS: Maps = {"superclasses": CIFAR100_SUPERCLASSES}

SOLAR_CONDITIONS = tuple(
    f"{probability} {cell}" for probability in ("0", "1/3", "2/3", "1") for cell in ("mono", "poly")
)
SOLAR_MAPS: Maps = {
    "defect": {"sound": SOLAR_CONDITIONS[:2], "defective": SOLAR_CONDITIONS[2:]},
}
