import logging
import logging.handlers
import sys

logging.basicConfig(format="%(levelname)s %(name)s %(module)s %(filename)s:%(lineno)d %(funcName)s: %(message)s",
                    level=logging.DEBUG)
log = logging.getLogger("app.db")


def work():
    log.info("rows=%d", 3)
    try:
        {}["missing"]
    except KeyError:
        log.exception("lookup failed")


work()
memory = logging.handlers.MemoryHandler(10, target=logging.StreamHandler(sys.stdout))
log.addHandler(memory)
log.propagate = False
log.warning("kept %s", {"a": 1})
memory.flush()
logging.getLogger().debug("root")
log.info("two args %s %s", "only one")
logging.captureWarnings(True)
import warnings
warnings.warn("as a log line")
