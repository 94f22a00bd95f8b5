package conductor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"leasehold/api/conductor/v1"
	"leasehold/internal/apijson"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

const (
	projectHeader = "x-project"
	keyHeader     = "idempotency-key"
	// bodyTimeout is how long a client may take to send a body of at most maxRequest: 35 kB/s.
	bodyTimeout = 30 * time.Second
)

// fromJSON refuses what it does not know: a misspelt field that is ignored is a wish that is ignored.
var fromJSON = protojson.UnmarshalOptions{}

// wireJSON is what the gateway writes with; it reads with fromJSON.
type wireJSON struct{ *runtime.JSONPb }

// Marshal implements runtime.Marshaler.
func (w wireJSON) Marshal(v any) ([]byte, error) {
	if m, ok := v.(proto.Message); ok {
		return apijson.Marshal(m)
	}
	return w.JSONPb.Marshal(v)
}

// rest is the API over HTTP and JSON: the same functions as over gRPC, called in this process.
type rest struct {
	s      *servers
	routes routes
	mux    *runtime.ServeMux
	follow *streams
}

func newREST(ctx context.Context, s *servers, api conductorv1.ConductorServer, follow *streams) http.Handler {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, wireJSON{&runtime.JSONPb{UnmarshalOptions: fromJSON}}),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithIncomingHeaderMatcher(func(key string) (string, bool) {
			key = strings.ToLower(key)
			return key, key == projectHeader || key == keyHeader
		}),
		runtime.WithOutgoingHeaderMatcher(func(key string) (string, bool) { return textproto.CanonicalMIMEHeaderKey(key), true }),
		runtime.WithForwardResponseOption(setCode),
		runtime.WithErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter,
			_ *http.Request, err error,
		) {
			writeError(w, malformed(err))
		}),
	)
	// It cannot fail: the patterns are generated.
	_ = conductorv1.RegisterConductorHandlerServer(ctx, mux, api)
	return &rest{s: s, routes: declaredRoutes(), mux: mux, follow: follow}
}

// setCode answers 202 for what became a task and 201 for what was made.
func setCode(ctx context.Context, w http.ResponseWriter, resp proto.Message) error {
	method, _ := runtime.RPCMethod(ctx)
	if it, ok := resp.(*conductorv1.InstanceTask); ok && it.GetTask() != nil {
		w.WriteHeader(http.StatusAccepted)
	}
	if method == conductorv1.Conductor_CreateImage_FullMethodName || method == conductorv1.Conductor_CreateFlavor_FullMethodName {
		w.WriteHeader(http.StatusCreated)
	}
	return nil
}

func (h *rest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found, vars, allow := h.routes.find(r.Method, r.URL.Path)
	if found == nil {
		h.nowhere(w, r, allow)
		return
	}
	if err := h.check(w, r, found); err != nil {
		writeError(w, err)
		return
	}
	if age, old := h.s.c.age(); old {
		w.Header().Set(ageHeader, age)
	}
	if found.rpc.IsStreamingServer() {
		h.stream(w, r, found, vars)
		return
	}
	if found.rpc.Name() != "WaitTask" {
		ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
		defer cancel()
		r = r.WithContext(ctx)
	}
	h.mux.ServeHTTP(w, r)
}

// nowhere answers for a path or a method that does not exist.
func (h *rest) nowhere(w http.ResponseWriter, r *http.Request, allow []string) {
	collection, unbuilt := isUnbuilt(r.URL.Path)
	switch {
	case unbuilt:
		writeError(w, vm.Refuse(vm.ReasonUnsupported, "cannot %s %s: %s are not built yet", r.Method, shown(r.URL.Path), collection))
	case len(allow) > 0:
		methods := strings.Join(allow, ", ")
		w.Header().Set("Allow", methods)
		writeErrorAs(w, http.StatusMethodNotAllowed,
			vm.Refuse(vm.ReasonInvalidArgument, "cannot %s %s: use %s", r.Method, shown(r.URL.Path), methods))
	default:
		writeError(w, vm.Refuse(vm.ReasonNotFound, "cannot find %s: there is no such path; /openapi.json lists them", shown(r.URL.Path)))
	}
}

// check refuses a request before it is decoded, and reads its body.
func (h *rest) check(w http.ResponseWriter, r *http.Request, to *route) error {
	if err := h.s.c.readable(); err != nil {
		return err
	}
	// The gateway drops a header that metadata cannot carry; a key that was dropped would order twice. P5
	if err := checkKey(r.Header.Get(keyHeader)); err != nil {
		return err
	}
	if project := r.Header.Get(projectHeader); project != "" {
		if err := checkProject(project); err != nil {
			return err
		}
	}
	if err := checkQuery(r.URL, to); err != nil {
		return err
	}
	return readBody(w, r)
}

// checkQuery refuses parameters that the call does not have.
func checkQuery(u *url.URL, to *route) error {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return vm.Refuse(vm.ReasonInvalidArgument, "cannot read the query: %v", err)
	}
	for _, key := range slices.Sorted(maps.Keys(query)) {
		name, _, _ := strings.Cut(key, ".")
		fields := to.input.Fields()
		if to.body {
			return vm.Refuse(vm.ReasonInvalidArgument, "cannot use the parameter %s in the query of %s: it belongs into the body",
				shown(key), to.rpc.Name())
		}
		if fields.ByTextName(name) == nil {
			return vm.Refuse(vm.ReasonInvalidArgument, "cannot use the parameter %s: %s has no such field", shown(key), to.rpc.Name())
		}
	}
	return nil
}

// readBody takes the whole body at once, so that its size and form are judged before anything else is.
func readBody(w http.ResponseWriter, r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // a writer without deadlines is a test's
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	_ = control.SetReadDeadline(time.Time{})
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return vm.Refuse(vm.ReasonTooLarge, "cannot take a body of more than %d bytes", maxRequest)
	}
	if err != nil {
		return vm.Refuse(vm.ReasonInvalidArgument, "cannot read the body: %v", err)
	}
	var value json.RawMessage
	if body = bytes.TrimSpace(body); len(body) > 0 {
		if err := json.Unmarshal(body, &value); err != nil {
			return vm.Refuse(vm.ReasonInvalidArgument, "cannot read the body as JSON: %v", err)
		}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return nil
}

// malformed makes a sentence of what the gateway says of a request that it cannot decode.
func malformed(err error) error {
	st, ok := status.FromError(err)
	if !ok || st.Code() != codes.InvalidArgument || len(st.Details()) > 0 {
		return err
	}
	// protojson puts either a space or a no-break space behind its name, at random, so that nobody depends on it.
	why := strings.ReplaceAll(st.Message(), "\u00a0", " ")
	return vm.Refuse(vm.ReasonInvalidArgument, "cannot read the request: %s", strings.TrimPrefix(why, "proto: "))
}

func writeError(w http.ResponseWriter, err error) {
	writeErrorAs(w, rpc.HTTPStatus(vm.ReasonOf(rpc.FromStatus(rpc.ToStatus(err)))), err)
}

// writeErrorAs writes google.rpc.Status. Every answer has a reason: a call that nobody decided about is store_unavailable.
func writeErrorAs(w http.ResponseWriter, code int, err error) {
	if none, ok := errors.AsType[*rpc.NoAnswerError](rpc.FromStatus(rpc.ToStatus(err))); ok {
		err = vm.Refuse(none.Reason(), "%s", none.Message)
	}
	body, merr := apijson.Marshal(status.Convert(rpc.ToStatus(err)).Proto())
	if merr != nil {
		body = fmt.Appendf(nil, `{"code":%d,"message":"internal error: cannot encode an error"}`, codes.Internal)
	}
	writeJSON(w, code, string(body))
}

func writeJSON(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, body+"\n") // who does not want the answer has left
}

// stream answers with one JSON object in each line, {"result": ...}, and {"error": ...} in the last when it breaks.
func (h *rest) stream(w http.ResponseWriter, r *http.Request, to *route, vars map[string]string) {
	out := &lines{w: w, control: http.NewResponseController(w)}
	var err error
	switch to.rpc.Name() {
	case "WatchTask":
		req := &conductorv1.GetRequest{}
		if err = fill(req, r.URL, vars); err == nil {
			err = h.follow.watch(r.Context(), req, callerIn(r.Header), &httpStream[conductorv1.Task]{lines: out})
		}
	case "Events":
		req := &conductorv1.EventsRequest{}
		if err = fill(req, r.URL, vars); err == nil {
			err = h.follow.events(r.Context(), req, callerIn(r.Header), &httpStream[conductorv1.Event]{lines: out})
		}
	default:
		err = vm.Refuse(vm.ReasonUnsupported, "cannot %s over HTTP", to.rpc.Name())
	}
	if err != nil {
		out.fail(err)
	}
}

func fill(req proto.Message, u *url.URL, vars map[string]string) error {
	query := u.Query()
	for name, value := range vars {
		query.Set(name, value)
	}
	return malformed(runtime.PopulateQueryParameters(req, query, utilities.NewDoubleArray(nil)))
}

// lines is an HTTP answer that goes on.
type lines struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func (l *lines) send(kind string, m proto.Message) error {
	body, err := apijson.Marshal(m)
	if err != nil {
		return fmt.Errorf("internal error: cannot encode a message: %w", err)
	}
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", "application/json")
		l.w.Header().Set("X-Content-Type-Options", "nosniff")
	}
	if _, err := fmt.Fprintf(l.w, "{%q:%s}\n", kind, body); err != nil {
		return err
	}
	return l.control.Flush()
}

func (l *lines) fail(err error) {
	if !l.begun {
		writeError(l.w, err)
		return
	}
	_ = l.send("error", status.Convert(rpc.ToStatus(err)).Proto()) // who does not want the answer has left
}

// httpStream is the sender of a stream over HTTP.
type httpStream[T any] struct{ *lines }

// Send writes one line.
func (s *httpStream[T]) Send(m *T) error { return s.send("result", any(m).(proto.Message)) }
