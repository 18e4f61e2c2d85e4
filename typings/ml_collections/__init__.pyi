"""Type the parts of ml_collections that are used here: a setting of a config may be anything."""

from ml_collections import config_dict as config_dict
from ml_collections import config_flags as config_flags
from ml_collections.config_dict import ConfigDict as ConfigDict
