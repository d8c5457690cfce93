"""Which types a stored model may name, and why these do no harm.

The audit. Loading makes an object by ``cls.__new__(cls)`` and hands it the stored
attributes (its ``__setstate__``, or its ``__dict__``), whatever they are; no
constructor of a type in :data:`OBJECTS` runs. So a type may be listed if

- neither ``__new__`` nor ``__setstate__`` imports, opens, unpickles or calls anything
  that the attributes name. scikit-learn's ``BaseEstimator.__setstate__`` compares a
  version number, ``IsotonicRegression``'s interpolates between two arrays, face
  detectors' makes an empty store of threads; no other type here has one. skorch's
  ``NeuralNet.__setstate__`` unpickles bytes: nets are therefore no objects to skops
  but records, made from checked parameters and a safetensors file (:data:`NETS`);
- its methods read what hostile attributes name with readers that run no code. Encoders
  load weights when they first encode: safetensors, or ``.bin`` files with
  ``weights_only=True``; ``PrecomputedEncoder`` reads ``.npy`` without pickles. What
  does more than compute is turned off or asked about in
  :mod:`skmer.persistence._placing`: code of model hubs, servers that clips are sent to,
  folders of caches (joblib's hold pickles), callbacks (skorch's write and unpickle
  files);
- it has no compiled code that takes stored numbers for addresses. scikit-learn's trees
  and neighbour trees do, and are left out; support vector machines are held to
  matching shapes in :mod:`skmer.persistence._placing`.

Types in :data:`NAMED` occur only as values, such as the class of a loss: a net calls
losses and optimisers with its checked parameters. Functions in it take arrays and
return arrays; the audit of :mod:`skmer.persistence._schema` leaves skops no way to
call one while it loads.
"""

import importlib
import inspect

from skmer.exceptions import ModelFormatError


def _names(module, names):
    return {f"{module}.{name}" for name in names.split()}


# Attribute bags: estimators and what fitted ones hold.
OBJECTS = frozenset(
    {"skmer.persistence._records.Record"}
    | _names("skmer.alignment._contrastive", "ContrastiveAligner")
    | _names("skmer.alignment._stream_adapter", "StreamAdapter")
    | _names("skmer.clips._table", "ClipTable")
    | _names("skmer.encoders._acoustic", "AcousticEncoder")
    | _names("skmer.encoders._adapted", "AdaptedSpeechEncoder")
    | _names("skmer.encoders._openface", "OpenFaceEncoder")
    | _names("skmer.encoders._precomputed", "PrecomputedEncoder")
    | _names("skmer.encoders._speech", "SpeechEncoder")
    | _names("skmer.encoders._text", "TextEncoder")
    | _names("skmer.encoders._visual", "VisualEncoder")
    | _names("skmer.enrichment._chat", "ChatAnnotator")
    | _names("skmer.enrichment._context", "ContextEnricher")
    | _names("skmer.enrichment._omni", "OmniAnnotator")
    | _names("skmer.enrichment._transcriber", "Transcriber")
    | _names("skmer.ensemble._cross_fit", "CrossFitTransformer")
    | _names("skmer.ensemble._fold", "FoldVotingClassifier")
    | _names("skmer.ensemble._seed", "SeedVotingClassifier")
    | _names("skmer.ensemble._stream", "StreamVotingClassifier")
    | _names("skmer.ensemble._svm", "SVMEnsembleClassifier")
    | _names("skmer.ensemble._svm_calibration", "_Scores")
    | _names("skmer.ensemble._svm_kernels", "Kernel")
    | _names("skmer.ensemble._svm_members", "NystroemMember Pool SVMMember")
    | _names("skmer.ensemble._variant", "VariantVotingClassifier")
    | _names("skmer.feature_selection._selector", "ChiSquareSelector")
    | _names("skmer.fusion._pretraining", "ContrastivePretraining")
    | _names("skmer.label_refinement._classifier", "RefinedClassifier")
    | _names("skmer.label_refinement._refiner", "LabelRefiner")
    | _names("skmer.media._detectors", "DlibDetector HaarDetector YuNetDetector")
    | _names("skmer.model_selection._unlabeled", "UnlabeledInTrain")
    | _names("skmer.modules._training", "Training")
    | _names("skmer.over_sampling._drop", "DropUnlabeled")
    | _names("skmer.over_sampling._labeled", "LabeledSampler")
    | _names("skmer.over_sampling._noise", "NoiseEmbeddingSampler")
    | _names("skmer.over_sampling._strategy", "_AtLeast")
    | _names("skmer.preprocessing._group_scaler", "GroupStandardScaler")
    | _names("skmer.preprocessing._imputer", "ModalityImputer")
    | _names("skmer.preprocessing._split_scaler", "SplitStandardScaler")
    | _names("skmer.recipes._scaler", "FeatureScaler")
    | _names("skmer.semi_supervised._agreement", "AgreementSelfTrainingClassifier")
    | _names("imblearn.combine._smote_enn", "SMOTEENN")
    | _names("imblearn.combine._smote_tomek", "SMOTETomek")
    | _names("imblearn.over_sampling._adasyn", "ADASYN")
    | _names("imblearn.over_sampling._random_over_sampler", "RandomOverSampler")
    | _names("imblearn.over_sampling._smote.base", "SMOTE SMOTEN SMOTENC")
    | _names("imblearn.over_sampling._smote.cluster", "KMeansSMOTE")
    | _names("imblearn.over_sampling._smote.filter", "BorderlineSMOTE SVMSMOTE")
    | _names("imblearn.pipeline", "Pipeline")
    | _names(
        "imblearn.under_sampling._prototype_selection._random_under_sampler",
        "RandomUnderSampler",
    )
    | _names(
        "sklearn.calibration",
        "CalibratedClassifierCV _CalibratedClassifier _SigmoidCalibration "
        "_TemperatureScaling",
    )
    | _names(
        "sklearn.compose._column_transformer", "ColumnTransformer make_column_selector"
    )
    | _names("sklearn.decomposition._pca", "PCA")
    | _names("sklearn.decomposition._truncated_svd", "TruncatedSVD")
    | _names(
        "sklearn.discriminant_analysis",
        "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis",
    )
    | _names("sklearn.dummy", "DummyClassifier")
    | _names("sklearn.ensemble._bagging", "BaggingClassifier")
    | _names("sklearn.ensemble._stacking", "StackingClassifier")
    | _names("sklearn.ensemble._voting", "VotingClassifier")
    | _names("sklearn.feature_selection._from_model", "SelectFromModel")
    | _names(
        "sklearn.feature_selection._univariate_selection",
        "SelectFdr SelectFpr SelectFwe SelectKBest SelectPercentile",
    )
    | _names("sklearn.feature_selection._variance_threshold", "VarianceThreshold")
    | _names("sklearn.frozen._frozen", "FrozenEstimator")
    | _names("sklearn.impute._base", "MissingIndicator SimpleImputer")
    | _names("sklearn.isotonic", "IsotonicRegression")
    | _names("sklearn.kernel_approximation", "Nystroem RBFSampler")
    | _names(
        "sklearn.linear_model._logistic", "LogisticRegression LogisticRegressionCV"
    )
    | _names("sklearn.linear_model._ridge", "RidgeClassifier RidgeClassifierCV")
    | _names("sklearn.metrics._scorer", "_MultimetricScorer _PassthroughScorer _Scorer")
    | _names("sklearn.model_selection._search", "GridSearchCV RandomizedSearchCV")
    | _names(
        "sklearn.model_selection._split",
        "GroupKFold GroupShuffleSplit KFold LeaveOneGroupOut PredefinedSplit "
        "RepeatedStratifiedKFold ShuffleSplit StratifiedGroupKFold StratifiedKFold "
        "StratifiedShuffleSplit",
    )
    | _names("sklearn.multiclass", "OneVsOneClassifier OneVsRestClassifier")
    | _names("sklearn.naive_bayes", "BernoulliNB ComplementNB GaussianNB MultinomialNB")
    | _names("sklearn.neural_network._multilayer_perceptron", "MLPClassifier")
    | _names(
        "sklearn.neural_network._stochastic_optimizers", "AdamOptimizer SGDOptimizer"
    )
    | _names("sklearn.pipeline", "FeatureUnion Pipeline")
    | _names(
        "sklearn.preprocessing._data",
        "MaxAbsScaler MinMaxScaler Normalizer PowerTransformer QuantileTransformer "
        "RobustScaler StandardScaler",
    )
    | _names("sklearn.preprocessing._discretization", "KBinsDiscretizer")
    | _names("sklearn.preprocessing._encoders", "OneHotEncoder OrdinalEncoder")
    | _names("sklearn.preprocessing._function_transformer", "FunctionTransformer")
    | _names("sklearn.preprocessing._label", "LabelBinarizer LabelEncoder")
    | _names("sklearn.semi_supervised._self_training", "SelfTrainingClassifier")
    | _names("sklearn.svm._classes", "LinearSVC NuSVC SVC")
    | _names(
        "sklearn.utils._metadata_requests", "MetadataRequest MethodMetadataRequest"
    )
)

# Fusion classifiers: named by records, made from parameters.
NETS = frozenset(
    {
        "skmer.fusion._attention.AttentionFusionClassifier",
        "skmer.fusion._base.FusionClassifier",
        "skmer.fusion._concat.ConcatFusionClassifier",
        "skmer.fusion._contrastive.ContrastiveFusionClassifier",
        "skmer.fusion._cross_attention.CrossAttentionFusionClassifier",
        "skmer.fusion._dynamic.DynamicWeightingFusionClassifier",
        "skmer.fusion._late.LateFusionClassifier",
        "skmer.fusion._low_rank.LowRankFusionClassifier",
        "skmer.fusion._misa.MisaFusionClassifier",
        "skmer.fusion._mmim.MmimFusionClassifier",
        "skmer.fusion._mult.MultFusionClassifier",
        "skmer.fusion._tensor.TensorFusionClassifier",
        "skmer.fusion._tokens.ModalTokenFusionClassifier",
    }
)

# Parts of torch modules that estimators hold: named by records, put together from
# attributes and tensors; no constructor but nn.Module's own runs.
MODULES = frozenset(
    _names("skmer.modules._adapted_stream", "AdaptedStream")
    | _names("skmer.modules._adapters", "AdaptedLayers BottleneckAdapter _RunningNorm")
    | _names("skmer.modules._losses", "LearnedTemperature")
    | _names("skmer.modules._random", "Dropout")
    | _names("skmer.modules._stream_map", "StreamMap")
    | _names("torch.nn.modules.activation", "GELU ReLU Sigmoid Tanh")
    | _names("torch.nn.modules.container", "ModuleDict ModuleList Sequential")
    | _names("torch.nn.modules.dropout", "Dropout")
    | _names("torch.nn.modules.linear", "Identity Linear")
    | _names("torch.nn.modules.normalization", "LayerNorm")
)

# Classes and functions that may occur as values.
NAMED = frozenset(
    {
        f"skmer.modules.{name}"
        for name in (
            "_attention.AttentionFusion",
            "_concat.ConcatFusion",
            "_contrastive.ContrastiveFusion",
            "_cross_attention.CrossAttentionFusion",
            "_dynamic.DynamicWeightingFusion",
            "_late.LateFusion",
            "_low_rank.LowRankFusion",
            "_misa.MisaFusion",
            "_mmim.MmimFusion",
            "_mult.MultFusion",
            "_tensor.TensorFusion",
            "_tokens.ModalTokenFusion",
        )
    }
    | _names("builtins", "bool float int str")
    | _names("numpy", "float32 float64 int32 int64")
    | _names("sklearn.feature_selection._mutual_info", "mutual_info_classif")
    | _names(
        "sklearn.feature_selection._univariate_selection", "chi2 f_classif f_oneway"
    )
    | _names("skmer.feature_selection._chi2", "chi2_binned")
    | _names(
        "sklearn.metrics._classification",
        "accuracy_score balanced_accuracy_score cohen_kappa_score f1_score fbeta_score "
        "jaccard_score log_loss matthews_corrcoef precision_score recall_score",
    )
    | _names(
        "sklearn.metrics._ranking",
        "average_precision_score roc_auc_score top_k_accuracy_score",
    )
    | _names("torch.nn.modules.loss", "CrossEntropyLoss MultiMarginLoss")
    | _names("torch.optim.adadelta", "Adadelta")
    | _names("torch.optim.adagrad", "Adagrad")
    | _names("torch.optim.adam", "Adam")
    | _names("torch.optim.adamax", "Adamax")
    | _names("torch.optim.adamw", "AdamW")
    | _names("torch.optim.asgd", "ASGD")
    | _names("torch.optim.lbfgs", "LBFGS")
    | _names("torch.optim.nadam", "NAdam")
    | _names("torch.optim.radam", "RAdam")
    | _names("torch.optim.rmsprop", "RMSprop")
    | _names("torch.optim.rprop", "Rprop")
    | _names("torch.optim.sgd", "SGD")
    | NETS
    | MODULES
)


def name_of(thing):
    """Return the name under which a class or function is stored."""
    return f"{thing.__module__}.{thing.__qualname__}"


def is_known(thing):
    """Tell whether a class or function needs no word of the user's to be loaded."""
    name = name_of(thing)
    return name in OBJECTS or name in NAMED


class Trust:
    """What the user of a model folder trusts besides the lists above.

    Parameters
    ----------
    trusted : sequence of str or type
        As :func:`skmer.persistence.load_model` takes it.
    """

    def __init__(self, trusted=()):
        if isinstance(trusted, (str, type)) or not all(
            isinstance(item, str) or inspect.isclass(item) or inspect.isfunction(item)
            for item in trusted
        ):
            raise TypeError(
                "trusted must be a list of names or classes, such as "
                f"trusted=['my_package.MyEncoder']. Got {trusted!r}."
            )
        self.words = frozenset(item for item in trusted if isinstance(item, str))
        self.names = {name_of(item) for item in trusted if not isinstance(item, str)}
        for word in self.words:
            self.names |= {word, *_stored_name(word)}

    def objects(self):
        """Return all names that may be made as objects."""
        return OBJECTS | self.names

    def named(self):
        """Return all names that may occur as values."""
        return NAMED | OBJECTS | self.names


def _stored_name(word):
    """Return the name of what a public name leads to: it may be defined elsewhere."""
    module, _, name = word.rpartition(".")
    # A list that the user wrote; nothing in a folder gets here.
    if not module or not all(part.isidentifier() for part in word.split(".")):
        return ()
    try:
        return (name_of(getattr(importlib.import_module(module), name)),)
    except (ImportError, AttributeError, ValueError):
        return ()


def untrusted(names):
    """Return the error of types that are not trusted."""
    names = sorted(names)
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return ModelFormatError(
        f"The model names {shown}: not on the list of what skmer knows to be "
        "harmless. Nothing was loaded. If you know who saved the model and where these "
        f"come from, load it with load_model(folder, trusted={names[:10]!r})."
    )
