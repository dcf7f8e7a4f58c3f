"""Which package on PyPI an import comes from: a table of what is known, and nothing is guessed beyond it.

A package index takes any name from anybody. A name that were derived from an import could be a stranger's, so what is not in
here is left unresolved.
"""

NAMESPACES = frozenset({"azure", "backports", "google", "ruamel", "zope"})
"""Names that many packages share: the next part says whose it is."""

_RENAMED = """
argon2=argon2-cffi attr=attrs azure.core=azure-core azure.cosmos=azure-cosmos azure.identity=azure-identity
azure.keyvault.secrets=azure-keyvault-secrets azure.servicebus=azure-servicebus azure.storage.blob=azure-storage-blob
azure.storage.queue=azure-storage-queue babel=Babel bs4=beautifulsoup4 bson=pymongo cairo=pycairo cairosvg=CairoSVG
confluent_kafka=confluent-kafka Crypto=pycryptodome Cryptodome=pycryptodomex cv2=opencv-python-headless
dateutil=python-dateutil discord=discord.py django=Django dns=dnspython docx=python-docx dotenv=python-dotenv
engineio=python-engineio fitz=PyMuPDF flask=Flask flask_cors=Flask-Cors flask_login=Flask-Login
flask_sqlalchemy=Flask-SQLAlchemy git=GitPython github=PyGithub gitlab=python-gitlab google.api_core=google-api-core
google.auth=google-auth google.cloud.bigquery=google-cloud-bigquery google.cloud.firestore=google-cloud-firestore
google.cloud.logging=google-cloud-logging google.cloud.pubsub=google-cloud-pubsub google.cloud.pubsub_v1=google-cloud-pubsub
google.cloud.secretmanager=google-cloud-secret-manager google.cloud.storage=google-cloud-storage
google.cloud.tasks_v2=google-cloud-tasks google.genai=google-genai google.generativeai=google-generativeai
google.oauth2=google-auth google.protobuf=protobuf google_auth_oauthlib=google-auth-oauthlib
googleapiclient=google-api-python-client gridfs=pymongo grpc=grpcio grpc_status=grpcio-status imblearn=imbalanced-learn
jinja2=Jinja2 jose=python-jose jsonpath_ng=jsonpath-ng jwt=PyJWT kafka=kafka-python magic=python-magic markdown=Markdown
markupsafe=MarkupSafe multipart=python-multipart mysql.connector=mysql-connector-python MySQLdb=mysqlclient nacl=PyNaCl
nats=nats-py OpenSSL=pyOpenSSL opentelemetry=opentelemetry-api opentelemetry.sdk=opentelemetry-sdk paho=paho-mqtt PIL=pillow
pkg_resources=setuptools pptx=python-pptx psycopg=psycopg[binary] psycopg2=psycopg2-binary pygments=Pygments pymysql=PyMySQL
python_multipart=python-multipart rapidfuzz=RapidFuzz rest_framework=djangorestframework ruamel.yaml=ruamel.yaml
serial=pyserial skimage=scikit-image sklearn=scikit-learn slack_bolt=slack-bolt slack_sdk=slack-sdk slugify=python-slugify
snowflake.connector=snowflake-connector-python socketio=python-socketio socks=PySocks sqlalchemy=SQLAlchemy
telegram=python-telegram-bot unidecode=Unidecode usb=pyusb websocket=websocket-client werkzeug=Werkzeug yaml=PyYAML zmq=pyzmq
zope.interface=zope.interface
"""

_SAME = """
aio_pika aiobotocore aiofiles aiohttp aiokafka aiomysql aiosqlite alembic altair anthropic anyio apscheduler arrow asgiref
asyncpg attrs authlib av backoff bcrypt black blinker bokeh boltons boto3 botocore bottle brotli cachetools cbor2 celery
certifi cffi chardet charset_normalizer click cohere colorama croniter cryptography cssselect cython dash dask deepdiff
defusedxml distro docker docutils duckdb elasticsearch email_validator emoji ephem et_xmlfile faker falcon fastapi fastavro
feedparser filelock folium fsspec ftfy fuzzywuzzy gensim geopandas geopy gevent greenlet gunicorn h11 h2 h5py holidays
html2text html5lib httpcore httptools httpx httpx_sse huey humanize hypercorn hypothesis icalendar idna imageio inflect
influxdb_client isodate itsdangerous jellyfish jmespath joblib jsonpatch jsonpointer jsonschema kombu langchain langchain_core
langchain_openai langdetect langid ldap3 Levenshtein litellm loguru lxml lz4 mako mangum marshmallow matplotlib mistralai
mistune more_itertools moto motor msgpack msgspec multidict mypy nanoid networkx nltk notion_client numba numexpr numpy
oauthlib openai openpyxl orjson packaging pandas paramiko parse parsel passlib patsy peewee pendulum phonenumbers pika pint
plotly polars portalocker prometheus_client psutil pyarrow pyasn1 pycountry pydantic pydantic_core pydantic_settings pyflakes
pygal pymongo pymssql pynamodb pyodbc pyotp pyparsing pypdf pyperclip pyproj pysftp pytest pytz pywebpush qdrant_client qrcode
quart rarfile redis regex reportlab requests requests_oauthlib requests_toolbelt rich rq s3fs s3transfer sanic scipy scrapy
seaborn selectolax sendgrid sentencepiece sentry_sdk setuptools shapely shortuuid simplejson six sniffio snowballstemmer
sortedcontainers soupsieve spacy sqlglot sqlmodel sqlparse sse_starlette starlette statsmodels stripe structlog sympy tabulate
tenacity termcolor textdistance tiktoken tinycss2 tokenizers toml tomli tomli_w tomlkit toolz tornado tqdm transformers trio
twilio typer typing_extensions typing_inspect tzdata tzlocal ujson unidiff uritemplate urllib3 uvicorn uvloop validators
watchdog watchfiles wcwidth weasyprint webob websockets wrapt wtforms xlrd xlsxwriter xmltodict xxhash yarl yfinance zeep
zstandard
"""


def _table() -> dict[str, str]:
    same = {name: name.replace("_", "-") for name in _SAME.split()}
    renamed = (each.partition("=") for each in _RENAMED.split())
    return same | {name: package for name, _, package in renamed}


PACKAGES = _table()
"""Packages by the import that they are for, with dots where the first part tells too little."""

_MOST_PARTS = 3


def package_of(imported: str) -> tuple[str, str]:
    """Return what of a dotted name tells where it comes from, and the package; an empty one when it is not known."""
    parts = imported.split(".")[:_MOST_PARTS]
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count])
        if name in PACKAGES:
            return name, PACKAGES[name]
    return ".".join(parts if parts[0] in NAMESPACES else parts[:1]), ""
