"""What skmer changes in skorch: parameters, device, pickling and the loop."""

import contextlib
import difflib
import functools
import inspect

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.metrics import f1_score
from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Callback, EpochTimer
from torch import nn

from skmer._config import get_config
from skmer.fusion._callbacks import EpochLog
from skmer.fusion._data import Batches, StreamData, StreamDataset
from skmer.fusion._precision import as_float32, autocast, gradient_scaler
from skmer.modules import StreamHeads, bernoulli, limited_threads
from skmer.modules._seeded import seeded

_PER_BATCH = ("on_batch_begin", "on_batch_end", "on_grad_computed")
# Clips in a batch when nothing is learnt and no sequence is to be padded.
_PREDICT_BATCH = 1024


class _EnoughError(Exception):
    """A callback ended the training."""


def interrupted(stop, net):
    """Return a user's interrupt with a note on what becomes of the net."""
    stop.add_note(
        f"{type(net).__name__} keeps what it learnt in {len(net.history)} epochs: it "
        "can predict, and partial_fit goes on from there."
    )
    return stop


class StreamNet(NeuralNetClassifier):
    """A skorch classifier over :class:`StreamData`, pure in its parameters.

    It keeps skorch's surface (``module__``, ``criterion__``, ``optimizer__`` and
    ``callbacks__`` parameters, callbacks, ``history``, ``module_``) and differs in
    this: ``__init__`` assigns parameters only, parameters set later count from the
    next fit, batches are slices of whole tensors, callbacks are called per batch
    only if one of them listens, and losses are averaged per epoch.
    """

    # skorch registers these when they are first assigned; known beforehand, they
    # leave nothing for __init__ to prepare.
    prefixes_ = ["module", "criterion", "optimizer", "callbacks"]
    cuda_dependent_attributes_ = [
        "module_",
        "criterion_",
        "optimizer_",
        "random_source_",
    ]
    _modules = ["module"]
    _criteria = ["criterion"]
    _optimizers = ["optimizer"]
    initialized_ = False
    history_ = None
    _mixing = None
    _scaler = None
    virtual_params_ = {}
    # Parameters of skorch that have one value here.
    classes = None
    compile = False
    dataset = StreamDataset
    iterator_train = Batches
    iterator_valid = Batches
    predict_nonlinearity = "auto"
    torch_load_kwargs = None
    use_caching = "auto"

    # Parameters

    @classmethod
    @functools.cache
    def _signature_names(cls):
        kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return tuple(sorted(p.name for p in parameters if p.kind not in kinds))

    def _get_param_names(self):
        return [*self._signature_names(), *sorted(self._params_to_validate)]

    @property
    def _params_to_validate(self):
        # What came in **kwargs: neither fitted state nor a parameter of __init__,
        # here or in a parent that this class calls with a fixed value.
        known = {
            name
            for cls in type(self).__mro__
            if issubclass(cls, StreamNet) and "__init__" in vars(cls)
            for name in cls._signature_names()
        }
        return {
            name
            for name in vars(self)
            if not (name.startswith("_") or name.endswith("_") or name in known)
        }

    def set_params(self, **params):
        """Set parameters; they count from the next fit on.

        ``lr`` and ``optimizer__*`` also change the optimiser of a fitted net, so
        that callbacks and ``partial_fit`` can steer the learning rate.

        Parameters
        ----------
        **params : dict
            Names as :meth:`get_params` lists them, or ``module__*``,
            ``criterion__*``, ``optimizer__*`` and ``callbacks__*``.

        Returns
        -------
        self : object
        """
        own = {}
        for name, value in params.items():
            if name.partition("__")[0] in self.prefixes_ and "__" in name:
                setattr(self, name, value)
            else:
                own[name] = value
            if self.initialized_ and self._is_virtual_param(name):
                self._apply_virtual_params({name: value})
        BaseEstimator.set_params(self, **own)
        return self

    def _validate_params(self):
        BaseEstimator._validate_params(self)
        if self.criterion is nn.NLLLoss:
            raise ValueError(
                "criterion=torch.nn.NLLLoss is for logarithms of probabilities, and "
                "modules here return logits. Use torch.nn.CrossEntropyLoss."
            )
        for name in sorted(self._params_to_validate):
            prefix, dunder, rest = name.partition("__")
            if not dunder or prefix not in self.prefixes_:
                raise ValueError(
                    f"{type(self).__name__} got an unexpected argument {name!r}. "
                    f"{self._guess(name)}Arguments with '__' start with one of "
                    f"{', '.join(self.prefixes_)}."
                )
            if prefix == "callbacks":
                callback = rest.partition("__")[0]
                names = []
                if self.callbacks != "disable":
                    names = [key for key, _ in self._uniquely_named_callbacks()]
                if callback not in names:
                    raise ValueError(
                        f"Trying to set a parameter for callback {callback!r}, which "
                        f"does not exist. There are: {', '.join(names) or 'none'}."
                    )

    def _guess(self, name):
        """Return a sentence that guesses what a mistyped argument meant, or nothing."""
        for prefix in self.prefixes_:
            rest = name[len(prefix) :].lstrip("_")
            if name.startswith(prefix) and rest:
                return f"Did you mean {prefix}__{rest}? "
        close = difflib.get_close_matches(name, self._signature_names(), n=1)
        return f"Did you mean {close[0]}? " if close else ""

    __repr__ = BaseEstimator.__repr__
    get_metadata_routing = BaseEstimator.get_metadata_routing

    # Components

    @property
    def _default_callbacks(self):
        return [("epoch_timer", EpochTimer()), ("print_log", EpochLog())]

    def _resolve_device(self):
        device = self.device
        if device == "auto":
            device = get_config()["device"]
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        device = torch.device(device)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                f"device={str(device)!r} is not there: PyTorch sees no CUDA device. "
                "Use device='auto' or 'cpu', or install a PyTorch built for your GPU."
            )
        return device

    def _initialize_module(self, reason=None):
        with self._current_init_context("module"):
            self.initialize_module()
            self._add_stream_heads()
            for name in self._modules:
                getattr(self, name + "_").to(self.device_)
        return self

    def _add_stream_heads(self):
        """Make the stream heads part of the module: they are saved with it."""
        if self.stream_heads is None:
            return
        if self._takes_sequences:
            raise ValueError(
                f"stream_heads={self.stream_heads!r} needs one row of features a clip, "
                "and X holds sequences. Pool them, or pass stream_heads=None."
            )
        self.module_.stream_heads = StreamHeads(
            {name: len(columns) for name, columns in self.streams_.items()},
            len(self.classes_),
            hidden_size=self.stream_heads,
            random_source=self.random_source_,
        )

    def _initialize_criterion(self, reason=None):
        with self._current_init_context("criterion"):
            self.initialize_criterion()
            for name in self._criteria:
                getattr(self, name + "_").to(self.device_)
        return self

    def get_params_for(self, prefix):
        """Return the arguments of a component; the module's sizes are inferred."""
        params = super().get_params_for(prefix)
        if prefix == "criterion":
            return {"reduction": "none", **params}
        if prefix == "module":
            return {**self._module_params(), **params}
        return params

    def get_params_for_optimizer(self, prefix, named_parameters):
        """Return the optimiser's arguments: fused where torch has it."""
        args, params = super().get_params_for_optimizer(prefix, named_parameters)
        accepts = inspect.signature(getattr(self, prefix)).parameters
        if "weight_decay" in accepts:
            params.setdefault("weight_decay", self.weight_decay)
        if "fused" in accepts and not params.get("foreach"):
            params.setdefault("fused", self.device_.type in ("cpu", "cuda"))
        return args, params

    def _own_randomness(self):
        """Tell whether the module draws from the source that it is given."""
        return "random_source" in inspect.signature(self.module).parameters

    def _threads(self):
        """Limit the threads of this thread's work on the CPU to ``n_threads``."""
        return limited_threads(self.n_threads, self.device_)

    @contextlib.contextmanager
    def _randomness(self):
        """Keep torch's global generator as it was, whatever the module does."""
        if self._own_randomness():
            yield
            return
        draw = torch.randint(
            2**31, (1,), generator=self.random_source_.generator("cpu")
        )
        with seeded(int(draw), self.device_):
            yield

    # Loop

    def get_iterator(self, dataset, training=False):
        """Return the batches of a dataset, in a new order each time it is trained."""
        if not training:
            whole = isinstance(dataset.X, StreamData)
            return Batches(dataset, _PREDICT_BATCH if whole else self.batch_size)
        return Batches(dataset, self.batch_size, lambda: self._epoch_order(dataset))

    def _epoch_order(self, dataset):
        n = len(dataset)
        generator = self.random_source_.generator("cpu")
        if self.sampler == "balanced":
            counts = torch.bincount(dataset.y.cpu(), minlength=len(self.classes_))
            share = 1.0 / counts[dataset.y.cpu()].double()
            rows = torch.multinomial(share, n, replacement=True, generator=generator)
        else:
            rows = torch.randperm(n, generator=generator)
        return rows.to(dataset.y.device)

    def _run_epochs(self, train, valid):
        """Train for up to ``max_epochs``.

        Returns
        -------
        best_epoch : int or None
        stop : KeyboardInterrupt or None
            Of a user. What was learnt until then is kept, for those who want it, and
            the caller raises it: nobody else is to take the net for a trained one.
        """
        facts = {"dataset_train": train, "dataset_valid": valid}
        best = self._no_best()
        self._scaler = gradient_scaler(self.dtype_, self.device_, self._scaler_state)
        stop = None
        try:
            self._epochs_until_done(train, facts, best)
        except _EnoughError:
            pass
        except KeyboardInterrupt as interrupt:
            stop = interrupt
        finally:
            # A scaler holds to a device; its state goes anywhere.
            if self._scaler is not None:
                self._scaler_state = self._scaler.state_dict()
            self._scaler = None
        return self._restore(best), stop

    def _tell(self, hook, **facts):
        """Notify callbacks, whose way to end the training is to interrupt it."""
        try:
            self.notify(hook, **facts)
        except KeyboardInterrupt as stop:
            raise _EnoughError from stop

    def _epochs_until_done(self, train, facts, best):
        listening = self._listening()
        for _ in range(self.max_epochs):
            self._tell("on_epoch_begin", **facts)
            self.run_single_epoch(
                self.get_iterator(train, training=True),
                training=True,
                prefix="train",
                step_fn=self.train_step,
                listening=listening,
            )
            if self._end_epoch(facts, best, listening):
                break

    @staticmethod
    def _no_best():
        return {"score": -np.inf, "epoch": None, "weights": None}

    def _end_epoch(self, facts, best, listening):
        """Watch, and note how good the epoch was; tell whether patience has run out."""
        valid = facts["dataset_valid"]
        if valid is not None:
            self.run_single_epoch(
                self.get_iterator(valid),
                training=False,
                prefix="valid",
                step_fn=self.validation_step,
                listening=listening,
            )
        epoch = len(self.history)
        if self.keep_epochs:
            self.epoch_states_.append(self._weights())
        score = -np.inf if valid is None else self.history[-1, "valid_f1_weighted"]
        if score > best["score"]:
            best.update(score=score, epoch=epoch, weights=self._weights())
        self._tell("on_epoch_end", **facts)
        stale = epoch - (best["epoch"] or epoch)
        return self.patience is not None and stale >= self.patience

    def _restore(self, best):
        if best["weights"] is not None:
            self.module_.load_state_dict(best["weights"])
        return best["epoch"]

    def _weights(self):
        return {
            name: value.detach().to("cpu", copy=True)
            for name, value in self.module_.state_dict().items()
        }

    def _listening(self):
        """Tell whether the net or a callback overrides a per-batch hook."""
        return any(
            getattr(type(owner), hook, None) is not getattr(base, hook)
            for owner, base in [
                (self, NeuralNet),
                *((callback, Callback) for _, callback in self.callbacks_),
            ]
            for hook in _PER_BATCH
        )

    def run_single_epoch(
        self, iterator, training, prefix, step_fn, listening=True, **fit_params
    ):
        """Go once over the batches and record the mean loss of the epoch."""
        self._set_training(training)
        total, count, predicted, wanted = 0.0, 0, [], []
        for batch in iterator:
            if listening:
                self._tell("on_batch_begin", batch=batch, training=training)
                # A callback may have predicted meanwhile.
                self._set_training(training)
            step = step_fn(batch, listening=listening)
            size = len(batch[0])
            total = total + step["loss"].detach() * size
            count += size
            if not training:
                predicted.append(_logits(step["y_pred"]).argmax(dim=1))
                wanted.append(batch[1])
            if listening:
                self.history.record_batch(f"{prefix}_loss", step["loss"].item())
                self.history.record_batch(f"{prefix}_batch_size", size)
                self._tell("on_batch_end", batch=batch, training=training, **step)
        self._record_loss(prefix, len(iterator), float(total) / count)
        if not listening:
            self._record_epoch_as_batch(prefix, float(total) / count, count)
        if not training:
            score = f1_score(
                torch.cat(wanted).cpu().numpy(),
                torch.cat(predicted).cpu().numpy(),
                average="weighted",
                zero_division=0.0,
            )
            self._record(f"{prefix}_f1_weighted", float(score), lower_is_better=False)

    def _record_epoch_as_batch(self, prefix, loss, size):
        """Let callbacks that look at the last batch find one: the whole epoch."""
        self.history.new_batch()
        self.history.record_batch(f"{prefix}_loss", loss)
        self.history.record_batch(f"{prefix}_batch_size", size)

    def _record_loss(self, prefix, n_batches, loss):
        self.history.record(f"{prefix}_batch_count", n_batches)
        if prefix == "train" and not np.isfinite(loss):
            raise ValueError(
                f"Training diverged: the loss of epoch {len(self.history)} is {loss}. "
                "Standardise the features (StandardScaler), lower lr, or set "
                "gradient_clip_norm."
            )
        self._record(f"{prefix}_loss", loss, lower_is_better=True)

    def _record(self, name, value, lower_is_better):
        earlier = [row[name] for row in self.history[:-1] if name in row]
        sign = -1.0 if lower_is_better else 1.0
        best = not earlier or sign * value > max(sign * other for other in earlier)
        self.history.record(name, value)
        self.history.record(f"{name}_best", best)

    def train_step(self, batch, listening=True, **fit_params):
        """Take one step of the optimiser."""
        first = {}

        def closure():
            self._zero_grad_optimizer(set_to_none=True)
            step = self.train_step_single(batch)
            if not first:
                first.update(step)
            if self._scaler is not None:
                for name in self._optimizers:
                    self._scaler.unscale_(getattr(self, name + "_"))
            parameters = list(self.module_.parameters())
            if self.gradient_clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters, self.gradient_clip_norm)
            if self.gradient_clip_value is not None:
                nn.utils.clip_grad_value_(parameters, self.gradient_clip_value)
            if listening:
                self._tell(
                    "on_grad_computed",
                    named_parameters=list(self.get_all_learnable_params()),
                    batch=batch,
                    training=True,
                )
            return step["loss"]

        self._step_optimizer(closure)
        return first

    def _step_optimizer(self, step_fn):
        if self._scaler is None:
            super()._step_optimizer(step_fn)
            return
        # A scaled step may be left out, so it takes no closure.
        step_fn()
        for name in self._optimizers:
            self._scaler.step(getattr(self, name + "_"))
        self._scaler.update()

    def train_step_single(self, batch, **fit_params):
        """Compute the loss of a batch and its gradients."""
        X, y = batch
        if self._mixing is not None:
            X = self._mixing(X, y)
        if self.modality_dropout > 0.0:
            X = self._drop_streams(X)
        y_pred = self.infer(X)
        loss = self._whole_loss(y_pred, y, X, training=True)
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()
        return {"loss": loss, "y_pred": y_pred}

    def validation_step(self, batch, listening=True, **fit_params):
        """Compute the loss and the predictions of a batch."""
        X, y = batch
        with torch.no_grad():
            y_pred = self.infer(X)
            loss = self._whole_loss(y_pred, y, X, training=False)
        return {"loss": loss, "y_pred": y_pred}

    def _drop_streams(self, X):
        """Hide streams at random; a clip keeps all when none would be left."""
        present = X.present()
        generator = self.random_source_.generator(present.device)
        kept = bernoulli(present.shape, 1 - self.modality_dropout, generator)
        return X.masked(_some_of(present, kept))

    def infer(self, x, **fit_params):
        """Run the module on the streams and the mask of a batch.

        With ``stream_heads`` the result is a tuple of the joined logits and a dict:
        ``"net"``, what the module returned, and ``"alone"``, the logits of the heads.
        """
        return self._infer_with(self.module_, x)

    def _infer_with(self, module, batch):
        output = self._run(module, batch)
        heads = stream_heads_of(module)
        if heads is None:
            return output
        alone = self._run(heads, batch)
        joined = heads.join(_logits(output), alone, batch.mask)
        return joined, {"net": output, "alone": alone}

    def _whole_loss(self, y_pred, y_true, X, training):
        """Return the loss of the module plus those of the stream heads."""
        if stream_heads_of(self.module_) is None:
            return self.get_loss(y_pred, y_true, X=X, training=training)
        loss = self.get_loss(y_pred[1]["net"], y_true, X=X, training=training)
        return loss + self._head_losses(y_pred[1]["alone"], y_true, X).mean()

    def _head_losses(self, alone, y_true, X):
        """Return the weighted loss of each clip, the sum over its streams."""
        n_streams = alone.shape[1]
        losses = self.criterion_(
            alone.flatten(0, 1), y_true.repeat_interleave(n_streams)
        ).view(-1, n_streams)
        if X.mask is not None:
            losses = losses * X.mask
        if X.weight is not None:
            losses = losses * X.weight.unsqueeze(1)
        return losses.sum(dim=1)

    def _run(self, function, batch):
        """Call the module, or a method of it, on a batch in the chosen precision."""
        with autocast(self.dtype_, self.device_):
            return as_float32(function(batch.streams(), batch.mask))

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the weighted mean loss of a batch, and what the module adds to it.

        Parameters
        ----------
        y_pred : Tensor of shape (batch, n_classes), or tuple that begins with it
            What the module returned.
        y_true : Tensor of shape (batch,), dtype int64
            Positions of the labels in ``classes_``.
        X : StreamData or SequenceData
            The batch, with the weights of its clips.
        training : bool, default=False
            Whether gradients are wanted, and the module's auxiliary loss counts.

        Returns
        -------
        loss : Tensor of shape ()
        """
        losses = self.criterion_(_logits(y_pred), y_true)
        if X is not None and X.weight is not None:
            losses = losses * X.weight
        return losses.mean() + (_auxiliary(y_pred) if training else 0.0)

    # Keeping

    def trim_for_prediction(self):
        """Let go of what only training needs; ``fit`` still starts anew."""
        self.check_is_fitted()
        self.optimizer_ = None
        self.criterion_ = None
        self.callbacks_ = []
        self.history.clear()
        self._trimmed_for_prediction = True

    def __setstate__(self, state):
        device, state["device"] = state["device"], str(state.get("device_", "cpu"))
        super().__setstate__(state)
        # skorch moves the tensors to a device that is there and says so.
        self.__dict__["device"], there = device, self.device
        if "device_" in state:
            self.device_ = torch.device(there)


def stream_heads_of(module):
    """Return the stream heads that a module was fitted with, or None."""
    # Not what the parameter says: it may have been set after the first fit.
    heads = getattr(module, "stream_heads", None)
    return heads if isinstance(heads, StreamHeads) else None


def _some_of(present, kept):
    """Return which streams a clip keeps: those kept, or all where none would be."""
    kept = present & (kept > 0)
    return torch.where(kept.any(dim=1, keepdim=True), kept, present)


def _logits(y_pred):
    return y_pred[0] if isinstance(y_pred, tuple) else y_pred


def _auxiliary(y_pred):
    """Return the loss that a module adds to that of its logits."""
    if isinstance(y_pred, tuple) and isinstance(y_pred[-1], dict):
        return y_pred[-1].get("auxiliary", 0.0)
    return 0.0
