/* Moves whole batches of records between librdkafka and Python lists, in one call each.
 *
 * librdkafka itself loads this library, by the client's setting plugin.library.paths, and calls
 * conf_init; the interceptor that this adds is handed each client as it is made. Python imports the
 * same file as a module. Neither headers nor library of librdkafka are needed to build it: the few
 * functions are looked up in the library that confluent_kafka has loaded, and what is declared here
 * of their types is part of librdkafka's public and stable interface (rdkafka.h).
 *
 * The client stays confluent_kafka's: its calls serve every callback. Nothing here may serve the
 * client's own queue, as callbacks would then run outside of such a call.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* What rdkafka.h declares. */

typedef struct rd_kafka_s client_t;
typedef struct rd_kafka_conf_s conf_t;
typedef struct rd_kafka_headers_s headers_t;
typedef struct rd_kafka_queue_s queue_t;
typedef struct rd_kafka_topic_s topic_t;

typedef struct {
    int err;
    topic_t *topic;
    int32_t partition;
    void *payload; /* of an error its text, or NULL */
    size_t len;
    void *key;
    size_t key_len;
    int64_t offset;
    void *private;
} message_t;

typedef void on_error_t(client_t *, int, const char *, void *);
typedef int on_new_t(client_t *, const conf_t *, void *, char *, size_t);
typedef int on_destroy_t(client_t *, void *);
typedef int on_acknowledgement_t(client_t *, message_t *, void *);

enum { NO_ERROR = 0, FAILED = -196 };
enum { V_END = 0, V_RKT = 2, V_PARTITION = 3, V_VALUE = 4, V_KEY = 5, V_FLAGS = 7 };
enum { V_TIMESTAMP = 8, V_HEADERS = 10 };
enum { COPY = 2 };
enum { NONE, IS_WRITTEN, IS_THERE };

static struct {
    int (*conf_add_on_new)(conf_t *, const char *, on_new_t *, void *);
    int (*conf_get)(const conf_t *, const char *, char *, size_t *);
    void (*conf_set_error_cb)(conf_t *, on_error_t *);
    int (*add_on_destroy)(client_t *, const char *, on_destroy_t *, void *);
    int (*add_on_acknowledgement)(client_t *, const char *, on_acknowledgement_t *, void *);
    int (*last_error)(void);
    const char *(*err2str)(int);
    queue_t *(*queue_new)(client_t *);
    queue_t *(*queue_get_partition)(client_t *, const char *, int32_t);
    void (*queue_forward)(queue_t *, queue_t *);
    void (*queue_destroy)(queue_t *);
    ssize_t (*consume_batch_queue)(queue_t *, int, message_t **, size_t);
    void (*message_destroy)(message_t *);
    int64_t (*message_timestamp)(const message_t *, int *);
    int32_t (*message_leader_epoch)(const message_t *);
    const char *(*message_errstr)(const message_t *);
    int (*message_headers)(const message_t *, headers_t **);
    topic_t *(*topic_new)(client_t *, const char *, void *);
    const char *(*topic_name)(const topic_t *);
    void (*topic_destroy)(topic_t *);
    int (*producev)(client_t *, ...);
    headers_t *(*headers_new)(size_t);
    void (*headers_destroy)(headers_t *);
    size_t (*header_cnt)(const headers_t *);
    int (*header_add)(headers_t *, const char *, ssize_t, const void *, ssize_t);
    int (*header_get_all)(const headers_t *, size_t, const char **, const void **, size_t *);
} rd;

static const struct {
    const char *name;
    void *place;
} SYMBOLS[] = {
    {"rd_kafka_conf_interceptor_add_on_new", &rd.conf_add_on_new},
    {"rd_kafka_conf_get", &rd.conf_get},
    {"rd_kafka_conf_set_error_cb", &rd.conf_set_error_cb},
    {"rd_kafka_interceptor_add_on_destroy", &rd.add_on_destroy},
    {"rd_kafka_interceptor_add_on_acknowledgement", &rd.add_on_acknowledgement},
    {"rd_kafka_last_error", &rd.last_error},
    {"rd_kafka_err2str", &rd.err2str},
    {"rd_kafka_queue_new", &rd.queue_new},
    {"rd_kafka_queue_get_partition", &rd.queue_get_partition},
    {"rd_kafka_queue_forward", &rd.queue_forward},
    {"rd_kafka_queue_destroy", &rd.queue_destroy},
    {"rd_kafka_consume_batch_queue", &rd.consume_batch_queue},
    {"rd_kafka_message_destroy", &rd.message_destroy},
    {"rd_kafka_message_timestamp", &rd.message_timestamp},
    {"rd_kafka_message_leader_epoch", &rd.message_leader_epoch},
    {"rd_kafka_message_errstr", &rd.message_errstr},
    {"rd_kafka_message_headers", &rd.message_headers},
    {"rd_kafka_topic_new", &rd.topic_new},
    {"rd_kafka_topic_name", &rd.topic_name},
    {"rd_kafka_topic_destroy", &rd.topic_destroy},
    {"rd_kafka_producev", &rd.producev},
    {"rd_kafka_headers_new", &rd.headers_new},
    {"rd_kafka_headers_destroy", &rd.headers_destroy},
    {"rd_kafka_header_cnt", &rd.header_cnt},
    {"rd_kafka_header_add", &rd.header_add},
    {"rd_kafka_header_get_all", &rd.header_get_all},
};

static int is_bound;

/* The first record that was handed over and did not arrive, since it was last asked for. */
typedef struct {
    atomic_int state; /* NONE, IS_WRITTEN or IS_THERE */
    int error;
    char topic[250]; /* a topic's name has 249 characters at most */
} failure_t;

/* A client as long as it lives: one reference is the client's, one whoever uses it from Python. */
typedef struct {
    _Atomic(client_t *) client; /* NULL once it is destroyed */
    failure_t failure;
    atomic_int references;
} link_t;

/* Of the client that this thread has made last, until it is attached. */
static _Thread_local link_t *newest;

/* Whether this thread is in a call of this file, and so in none of confluent_kafka's. */
static _Thread_local int is_fetching;

/* confluent_kafka's callback for errors: one function for all clients, which aborts the process
 * where it is not called from within a call of its own. */
static _Atomic(on_error_t *) report_error;

/* Errors come into a partition's queue when it is no longer there. The client's own queue tells of
 * that as well, and what else listens for errors hears of them at the next call. */
static void on_error(client_t *client, int error, const char *text, void *opaque) {
    on_error_t *report = atomic_load(&report_error);
    if (!is_fetching && report != NULL) report(client, error, text, opaque);
}

/* Puts on_error between librdkafka and the callback that is set; 0 if that can't be done. */
static int stand_between(const conf_t *conf) {
    char text[64];
    size_t size = sizeof text;
    void *found = NULL;
    on_error_t *report = NULL;
    if (rd.conf_get(conf, "error_cb", text, &size) != 0) return 0; /* as a pointer's text */
    if (sscanf(text, "%p", &found) != 1 || found == NULL) return 0;
    memcpy(&report, &found, sizeof report);
    if (report != on_error) atomic_store(&report_error, report);
    rd.conf_set_error_cb((conf_t *)(uintptr_t)conf, on_error); /* it is the new client's own copy */
    return 1;
}

static void drop(link_t *link) {
    if (link != NULL && atomic_fetch_sub(&link->references, 1) == 1) free(link);
}

static int on_destroy(client_t *client, void *opaque) {
    link_t *link = opaque;
    (void)client;
    atomic_store(&link->client, NULL);
    drop(link);
    return NO_ERROR;
}

/* Keeps the first failure; librdkafka calls this in its own threads, for every record. */
static int on_acknowledgement(client_t *client, message_t *message, void *opaque) {
    failure_t *failure = &((link_t *)opaque)->failure;
    int none = NONE;
    (void)client;
    if (message->err == NO_ERROR) return NO_ERROR;
    if (!atomic_compare_exchange_strong(&failure->state, &none, IS_WRITTEN)) return NO_ERROR;
    failure->error = message->err;
    snprintf(failure->topic, sizeof failure->topic, "%s", rd.topic_name(message->topic));
    atomic_store(&failure->state, IS_THERE);
    return NO_ERROR;
}

/* Whether records that fail do so with their transaction, so that nobody has to be told. */
static int is_transactional(const conf_t *conf) {
    size_t size = 0; /* with the NUL at the end */
    return rd.conf_get(conf, "transactional.id", NULL, &size) == 0 && size > 1;
}

static int on_new(client_t *client, const conf_t *conf, void *opaque, char *text, size_t size) {
    link_t *link = malloc(sizeof *link);
    (void)opaque;
    if (!stand_between(conf)) {
        free(link);
        snprintf(text, size, "the client's callback for errors is not known");
        return FAILED;
    }
    if (link == NULL) {
        snprintf(text, size, "out of memory");
        return FAILED;
    }
    atomic_init(&link->client, client);
    atomic_init(&link->failure.state, NONE);
    atomic_init(&link->references, 2);
    if (rd.add_on_destroy(client, "kproc", on_destroy, link) != NO_ERROR ||
        (!is_transactional(conf) &&
         rd.add_on_acknowledgement(client, "kproc", on_acknowledgement, link) != NO_ERROR)) {
        free(link);
        snprintf(text, size, "no interceptor can be added");
        return FAILED;
    }
    drop(newest);
    newest = link;
    return NO_ERROR;
}

/* What librdkafka calls of a plugin, for each configuration that names it. */
__attribute__((visibility("default"))) int conf_init(conf_t *, void **, char *, size_t);

int conf_init(conf_t *conf, void **opaque, char *text, size_t size) {
    (void)opaque;
    if (!is_bound) {
        snprintf(text, size, "kproc's plugin is for kproc's own clients only");
        return FAILED;
    }
    return rd.conf_add_on_new(conf, "kproc", on_new, NULL);
}

static PyObject *bind(PyObject *module, PyObject *args) {
    PyObject *encoded;
    (void)module;
    if (!PyArg_ParseTuple(args, "O&", PyUnicode_FSConverter, &encoded)) return NULL;
    const char *path = PyBytes_AsString(encoded);
    void *library = path == NULL || is_bound ? NULL : dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (path != NULL && !is_bound && library == NULL)
        PyErr_Format(PyExc_OSError, "%s is not loaded", path);
    Py_DECREF(encoded);
    if (is_bound) Py_RETURN_NONE;
    if (library == NULL) return NULL;
    for (size_t i = 0; i < sizeof SYMBOLS / sizeof *SYMBOLS; i++) {
        /* Looked up in what that library depends on as well. */
        void *found = dlsym(library, SYMBOLS[i].name);
        if (found == NULL) {
            dlclose(library);
            return PyErr_Format(PyExc_OSError, "the client has no %s", SYMBOLS[i].name);
        }
        memcpy(SYMBOLS[i].place, &found, sizeof found);
    }
    is_bound = 1; /* the library stays open */
    Py_RETURN_NONE;
}

typedef struct {
    PyObject_HEAD
    link_t *link;
    queue_t *queue;  /* where records of the partitions that are taken come */
    PyObject *owner; /* confluent_kafka's client, which has to live as long */
    int is_busy;     /* a call waits without the interpreter's lock */
} Handle;

static PyObject *Handle_type;

/* The client that a handle stands for; NULL, and an exception, if it has ended. */
static client_t *client_of(Handle *self) {
    client_t *client = self->link == NULL ? NULL : atomic_load(&self->link->client);
    if (client == NULL) PyErr_SetString(PyExc_RuntimeError, "the client is closed");
    return client;
}

static void let_go(Handle *self) {
    link_t *link = self->link;
    queue_t *queue = self->queue;
    PyObject *owner = self->owner;
    self->link = NULL;
    self->queue = NULL;
    self->owner = NULL;
    /* Of a client that is destroyed the queue is gone, too. */
    if (queue != NULL && atomic_load(&link->client) != NULL) rd.queue_destroy(queue);
    drop(link);
    Py_XDECREF(owner);
}

static PyObject *attach(PyObject *module, PyObject *owner) {
    (void)module;
    if (newest == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "no client was made with this plugin in this thread");
        return NULL;
    }
    Handle *self = (Handle *)PyType_GenericAlloc((PyTypeObject *)Handle_type, 0);
    if (self == NULL) return NULL;
    self->link = newest;
    newest = NULL;
    Py_INCREF(owner);
    self->owner = owner;
    return (PyObject *)self;
}

static int handle_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Handle *)self)->owner);
    return 0;
}

static int handle_clear(PyObject *self) {
    let_go((Handle *)self);
    return 0;
}

static void handle_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    let_go((Handle *)self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyObject *handle_release(PyObject *object, PyObject *unused) {
    Handle *self = (Handle *)object;
    (void)unused;
    if (self->is_busy) {
        PyErr_SetString(PyExc_RuntimeError, "another thread is reading");
        return NULL;
    }
    let_go(self);
    Py_RETURN_NONE;
}

static int has_queue(Handle *self, client_t *client) {
    if (self->queue == NULL) self->queue = rd.queue_new(client);
    if (self->queue == NULL) PyErr_NoMemory();
    return self->queue != NULL;
}

static PyObject *handle_take(PyObject *object, PyObject *args) {
    Handle *self = (Handle *)object;
    const char *topic;
    int partition;
    if (!PyArg_ParseTuple(args, "si:take", &topic, &partition)) return NULL;
    client_t *client = client_of(self);
    if (client == NULL || !has_queue(self, client)) return NULL;
    queue_t *from = rd.queue_get_partition(client, topic, partition);
    if (from == NULL)
        return PyErr_Format(PyExc_ValueError, "no partition %d of %s", partition, topic);
    rd.queue_forward(from, self->queue);
    rd.queue_destroy(from);
    Py_RETURN_NONE;
}

static PyObject *bytes_or_none(const void *data, size_t size) {
    if (data == NULL) Py_RETURN_NONE;
    return PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
}

/* Puts a new reference into a list that is being made; 0 if there is none. */
static int put(PyObject *list, Py_ssize_t at, PyObject *item) {
    return item != NULL && PyList_SetItem(list, at, item) == 0;
}

/* Text of others; what is no UTF-8 is escaped. */
static PyObject *text_of(const char *text) {
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "backslashreplace");
}

/* A record's headers as a tuple of pairs. */
static PyObject *headers_of(const message_t *message) {
    headers_t *headers;
    if (rd.message_headers(message, &headers) != NO_ERROR) return PyTuple_New(0);
    size_t count = rd.header_cnt(headers);
    PyObject *found = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; found != NULL && i < count; i++) {
        const char *name;
        const void *value;
        size_t size;
        PyObject *pair = NULL;
        if (rd.header_get_all(headers, i, &name, &value, &size) != NO_ERROR)
            PyErr_SetString(PyExc_RuntimeError, "a record has fewer headers than it says");
        else
            pair = Py_BuildValue("NN", text_of(name), bytes_or_none(value, size));
        if (pair == NULL || PyTuple_SetItem(found, (Py_ssize_t)i, pair) != 0) Py_CLEAR(found);
    }
    return found;
}

/* The headers of all records, or None where no record has any. */
static PyObject *column_of_headers(message_t **messages, Py_ssize_t count) {
    Py_ssize_t first = 0;
    headers_t *unused;
    while (first < count && rd.message_headers(messages[first], &unused) != NO_ERROR) first++;
    if (first == count) Py_RETURN_NONE;
    PyObject *found = PyList_New(count);
    for (Py_ssize_t i = 0; found != NULL && i < count; i++)
        if (!put(found, i, headers_of(messages[i]))) Py_CLEAR(found);
    return found;
}

/* Stretches of records of one leader epoch each: the first offset, the last one, and the epoch. */
static PyObject *epochs_of(message_t **messages, Py_ssize_t count) {
    PyObject *found = PyList_New(0);
    for (Py_ssize_t first = 0, last; found != NULL && first < count; first = last + 1) {
        int32_t epoch = rd.message_leader_epoch(messages[first]);
        last = first;
        while (last + 1 < count && rd.message_leader_epoch(messages[last + 1]) == epoch) last++;
        PyObject *span = Py_BuildValue("LLi", (long long)messages[first]->offset,
                                       (long long)messages[last]->offset, epoch);
        if (span == NULL || PyList_Append(found, span) != 0) Py_CLEAR(found);
        Py_XDECREF(span);
    }
    return found;
}

/* Records of one partition: its topic and number, columns, and leader epochs. */
static PyObject *run_of(message_t **messages, Py_ssize_t count) {
    PyObject *keys = PyList_New(count), *values = PyList_New(count);
    PyObject *times = PyList_New(count), *offsets = PyList_New(count);
    int is_whole = keys != NULL && values != NULL && times != NULL && offsets != NULL;
    for (Py_ssize_t i = 0; is_whole && i < count; i++) {
        const message_t *message = messages[i];
        is_whole = put(keys, i, bytes_or_none(message->key, message->key_len)) &&
                   put(values, i, bytes_or_none(message->payload, message->len)) &&
                   put(times, i, PyLong_FromLongLong(rd.message_timestamp(message, NULL))) &&
                   put(offsets, i, PyLong_FromLongLong(message->offset));
    }
    PyObject *headers = is_whole ? column_of_headers(messages, count) : NULL;
    PyObject *epochs = headers != NULL ? epochs_of(messages, count) : NULL;
    if (epochs != NULL)
        return Py_BuildValue("siNNNNNN", rd.topic_name(messages[0]->topic),
                             (int)messages[0]->partition, keys, values, times, offsets, headers,
                             epochs);
    Py_XDECREF(keys);
    Py_XDECREF(values);
    Py_XDECREF(times);
    Py_XDECREF(offsets);
    Py_XDECREF(headers);
    return NULL;
}

/* An error or an end: its code and text, and the topic, partition and offset that it is about. */
static PyObject *error_of(const message_t *message) {
    const char *topic = message->topic == NULL ? NULL : rd.topic_name(message->topic);
    const char *text = rd.message_errstr(message);
    return Py_BuildValue("iNziL", message->err, text_of(text == NULL ? "" : text), topic,
                         (int)message->partition, (long long)message->offset);
}

static int append(PyObject *list, PyObject *item) {
    int is_added = item != NULL && PyList_Append(list, item) == 0;
    Py_XDECREF(item);
    return is_added;
}

/* Runs of records, and errors; puts the records in front, so that an error parts no run. */
static PyObject *sorted_out(message_t **messages, Py_ssize_t count) {
    PyObject *runs = PyList_New(0), *errors = PyList_New(0);
    int is_whole = runs != NULL && errors != NULL;
    Py_ssize_t records = 0;
    for (Py_ssize_t i = 0; is_whole && i < count; i++) {
        message_t *message = messages[i];
        if (message->err != NO_ERROR) {
            is_whole = append(errors, error_of(message));
        } else {
            messages[i] = messages[records];
            messages[records++] = message;
        }
    }
    for (Py_ssize_t first = 0, end; is_whole && first < records; first = end) {
        end = first + 1;
        while (end < records && messages[end]->topic == messages[first]->topic &&
               messages[end]->partition == messages[first]->partition)
            end++;
        is_whole = append(runs, run_of(messages + first, end - first));
    }
    if (is_whole) return Py_BuildValue("NN", runs, errors);
    Py_XDECREF(runs);
    Py_XDECREF(errors);
    return NULL;
}

static PyObject *handle_fetch(PyObject *object, PyObject *args) {
    Handle *self = (Handle *)object;
    Py_ssize_t limit;
    int timeout;
    if (!PyArg_ParseTuple(args, "ni:fetch", &limit, &timeout)) return NULL;
    if (limit < 1 || limit > 1000000 || timeout < 0) {
        PyErr_SetString(PyExc_ValueError, "1 to 1,000,000 records, and no negative time-out");
        return NULL;
    }
    client_t *client = client_of(self);
    if (client == NULL || !has_queue(self, client)) return NULL;
    if (self->is_busy) {
        PyErr_SetString(PyExc_RuntimeError, "another thread is reading");
        return NULL;
    }
    message_t **messages = PyMem_Malloc((size_t)limit * sizeof *messages);
    if (messages == NULL) return PyErr_NoMemory();
    ssize_t count;
    int error;
    self->is_busy = 1;
    Py_BEGIN_ALLOW_THREADS
    is_fetching = 1;
    count = rd.consume_batch_queue(self->queue, timeout, messages, (size_t)limit);
    is_fetching = 0;
    error = count < 0 ? rd.last_error() : NO_ERROR;
    Py_END_ALLOW_THREADS
    self->is_busy = 0;
    PyObject *found = NULL;
    if (count < 0)
        PyErr_SetString(PyExc_RuntimeError, rd.err2str(error));
    else
        found = sorted_out(messages, count);
    for (ssize_t i = 0; i < count; i++) rd.message_destroy(messages[i]);
    PyMem_Free(messages);
    return found;
}

/* The bytes of a key or value; NULL for None. Returns 0, and an exception, for anything else. */
static int bytes_of(PyObject *item, char **data, Py_ssize_t *size) {
    *data = NULL;
    *size = 0;
    return item != NULL && (item == Py_None || PyBytes_AsStringAndSize(item, data, size) == 0);
}

/* One header, a pair of a name and a value. */
static int add_header(headers_t *headers, PyObject *pair) {
    char *data;
    Py_ssize_t size;
    if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
        PyErr_SetString(PyExc_TypeError, "a header is a tuple of a name and a value");
        return 0;
    }
    const char *name = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(pair, 0), NULL);
    if (name == NULL || !bytes_of(PyTuple_GetItem(pair, 1), &data, &size)) return 0;
    int error = rd.header_add(headers, name, -1, data, size);
    if (error != NO_ERROR) PyErr_Format(PyExc_ValueError, "header %s: %s", name, rd.err2str(error));
    return error == NO_ERROR;
}

/* A record's headers for librdkafka; NULL, and an exception, if they are none. */
static headers_t *headers_from(PyObject *pairs) {
    if (pairs == NULL) return NULL;
    if (!PyTuple_Check(pairs)) {
        PyErr_SetString(PyExc_TypeError, "a record's headers are a tuple");
        return NULL;
    }
    Py_ssize_t count = PyTuple_Size(pairs);
    headers_t *headers = rd.headers_new((size_t)count);
    if (headers == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        if (!add_header(headers, PyTuple_GetItem(pairs, i))) {
            rd.headers_destroy(headers);
            return NULL;
        }
    return headers;
}

typedef struct {
    PyObject *keys, *values, *times, *headers; /* lists of one length; headers may be None */
} columns_t;

/* Hands over one record. Returns 0, and an exception, where it can't be made of the columns. */
static int produce_row(client_t *client, topic_t *topic, int32_t partition,
                       const columns_t *columns, Py_ssize_t row, int *error) {
    char *key, *value;
    Py_ssize_t key_size, value_size;
    headers_t *headers = NULL;
    if (!bytes_of(PyList_GetItem(columns->keys, row), &key, &key_size)) return 0;
    if (!bytes_of(PyList_GetItem(columns->values, row), &value, &value_size)) return 0;
    PyObject *time = PyList_GetItem(columns->times, row);
    int64_t timestamp = time == NULL ? -1 : PyLong_AsLongLong(time);
    if (timestamp == -1 && PyErr_Occurred()) return 0;
    if (columns->headers != Py_None) {
        headers = headers_from(PyList_GetItem(columns->headers, row));
        if (headers == NULL) return 0;
    }
    /* librdkafka takes the timestamp 0 for "now". */
    if (timestamp == 0) timestamp = 1;
    *error = rd.producev(client, V_RKT, topic, V_PARTITION, partition, V_FLAGS, COPY, V_KEY,
                         (void *)key, (size_t)key_size, V_VALUE, (void *)value, (size_t)value_size,
                         V_TIMESTAMP, timestamp, V_HEADERS, headers, V_END);
    /* Those of a record that was taken are the client's. */
    if (*error != NO_ERROR && headers != NULL) rd.headers_destroy(headers);
    return 1;
}

static PyObject *handle_produce(PyObject *object, PyObject *args) {
    Handle *self = (Handle *)object;
    const char *name;
    int partition;
    Py_ssize_t row;
    columns_t all;
    if (!PyArg_ParseTuple(args, "siO!O!O!On:produce", &name, &partition, &PyList_Type, &all.keys,
                          &PyList_Type, &all.values, &PyList_Type, &all.times, &all.headers, &row))
        return NULL;
    Py_ssize_t count = PyList_Size(all.values);
    if (PyList_Size(all.keys) != count || PyList_Size(all.times) != count || row < 0 ||
        (all.headers != Py_None &&
         (!PyList_Check(all.headers) || PyList_Size(all.headers) != count))) {
        PyErr_SetString(PyExc_ValueError, "columns are lists of one length");
        return NULL;
    }
    client_t *client = client_of(self);
    if (client == NULL) return NULL;
    topic_t *topic = rd.topic_new(client, name, NULL);
    if (topic == NULL) return Py_BuildValue("ni", row, rd.last_error());
    int is_whole = 1, error = NO_ERROR;
    for (; row < count; row++) {
        is_whole = produce_row(client, topic, partition, &all, row, &error);
        if (!is_whole || error != NO_ERROR) break;
    }
    rd.topic_destroy(topic);
    return is_whole ? Py_BuildValue("ni", row, error) : NULL;
}

static PyObject *handle_failure(PyObject *object, PyObject *unused) {
    Handle *self = (Handle *)object;
    (void)unused;
    failure_t *failure = self->link == NULL ? NULL : &self->link->failure;
    if (failure == NULL || atomic_load(&failure->state) != IS_THERE) Py_RETURN_NONE;
    PyObject *found = Py_BuildValue("iN", failure->error, text_of(failure->topic));
    atomic_store(&failure->state, NONE);
    return found;
}

static PyMethodDef handle_methods[] = {
    {"take", handle_take, METH_VARARGS, NULL},
    {"fetch", handle_fetch, METH_VARARGS, NULL},
    {"produce", handle_produce, METH_VARARGS, NULL},
    {"failure", handle_failure, METH_NOARGS, NULL},
    {"release", handle_release, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot handle_slots[] = {
    {Py_tp_methods, handle_methods},
    {Py_tp_traverse, handle_traverse},
    {Py_tp_clear, handle_clear},
    {Py_tp_dealloc, handle_dealloc},
    {0, NULL},
};

static PyType_Spec handle_spec = {
    .name = "processor.native.plane.Handle",
    .basicsize = sizeof(Handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = handle_slots,
};

static PyMethodDef functions[] = {
    {"bind", bind, METH_VARARGS, NULL},
    {"attach", attach, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "plane",
    .m_size = -1, /* what is bound is the process's */
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit_plane(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL) return NULL;
    if (Handle_type == NULL) Handle_type = PyType_FromSpec(&handle_spec);
    if (Handle_type == NULL || PyModule_AddObjectRef(module, "Handle", Handle_type) != 0)
        Py_CLEAR(module);
    return module;
}
